"""Exports a PyTorch classifier with two outputs into the working folder, with a batch and its results.

Runs on Debian's PyTorch; docs/frameworks.md has the call of torch.onnx.export.
"""

import numpy as np
import torch  # type: ignore[import-not-found]


class Classifier(torch.nn.Module):  # type: ignore[misc]
    """Two convolutions, an early output, and two more layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 16, 3, stride=2, padding=1),
            torch.nn.ReLU(),
        )
        self.early = torch.nn.Linear(16, 10)
        self.rest = torch.nn.Sequential(
            torch.nn.Conv2d(16, 16, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(16, 10),
        )

    def forward(self, image):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Returns the scores of both exits."""
        found = self.features(image)
        return self.early(found.mean((2, 3))), self.rest(found)


def main() -> None:
    """Writes classifier.onnx and classifier.npz."""
    torch.manual_seed(0)
    model = Classifier()
    image = torch.rand(3, 3, 32, 32)
    torch.onnx.export(
        model.eval(),
        (image,),
        "classifier.onnx",
        input_names=["image"],
        output_names=["early", "final"],
        dynamic_axes={name: {0: "batch"} for name in ("image", "early", "final")},
        dynamo=False,
    )
    with torch.no_grad():
        early, final = model(image)
    np.savez("classifier.npz", image=image.numpy(), early=early.numpy(), final=final.numpy())


if __name__ == "__main__":
    main()
