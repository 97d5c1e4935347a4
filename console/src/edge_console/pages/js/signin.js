// Takes a bearer token.

import { keepToken } from "./api.js";
import { h } from "./dom.js";

export function signInPage(signIn, message) {
  const field = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "how" });
  const problem = h("p", { class: "problem", role: "alert" }, message || "");
  const button = h("button", { type: "submit", class: "primary" }, "Show my services");
  const form = h(
    "form",
    {
      class: "panel sign-in",
      onsubmit: async (event) => {
        event.preventDefault();
        keepToken(field.value);
        button.disabled = true;
        problem.textContent = "";
        try {
          await signIn();
        } catch (error) {
          sessionStorage.clear();
          problem.textContent = error.message;
          field.focus();
        } finally {
          button.disabled = false;
        }
      },
    },
    h("h1", {}, "Sign in"),
    h("p", { id: "how" }, "Show a token of the cluster. You see what ", h("code", {}, "kubectl"), " shows to the same account, and can change nothing."),
    h("label", { for: "token" }, "Bearer token"),
    field,
    problem,
    button,
    h(
      "details",
      {},
      h("summary", {}, "Where do I get a token?"),
      h("p", {}, "For a ServiceAccount that may view a namespace:"),
      h("pre", { tabindex: "0" }, "kubectl create serviceaccount viewer -n default\nkubectl create rolebinding viewer -n default \\\n  --clusterrole=view --serviceaccount=default:viewer\nkubectl create token viewer -n default"),
    ),
    h("p", { class: "muted small" }, "The token stays in this tab and is gone when you close it."),
  );
  return { title: "Sign in", element: form, draw() {} };
}
