# The operator with the console, and the runtime: `docker build --target operator .`, `docker build --target runtime .`
# Three layers, ordered by how often they change: base, dependencies, the project's distributions.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
# For builds behind a mirror or a proxy; the values are not stored in the images.
ARG PIP_CERT PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST
ARG PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_WARN_SCRIPT_LOCATION=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /opt/venv
COPY requirements/build.lock /build/requirements/
RUN python3 -m venv /build/venv && /build/venv/bin/pip install --quiet --require-hashes -r /build/requirements/build.lock

# In both images: the API's kinds and the planner, without the research code.
FROM builder AS libraries
COPY api /build/api
COPY planning /build/planning
RUN /build/venv/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /build/wheels /build/api /build/planning

FROM builder AS operator-dependencies
COPY requirements/operator.lock /build/requirements/
# Tables of rich need neither pygments nor markdown-it-py. With pygments, httpx would import its command line, which
# delays the operator's start.
RUN /opt/venv/bin/pip install --quiet --require-hashes -r /build/requirements/operator.lock \
 && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools pygments markdown-it-py mdurl \
 && find /opt/venv -depth -type d -name tests -path '*/site-packages/*' -exec rm -rf {} +

FROM operator-dependencies AS operator-distribution
COPY --from=libraries /build/wheels /build/wheels
COPY operator /build/operator
COPY console /build/console
RUN /build/venv/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /build/wheels /build/operator /build/console \
 && /build/venv/bin/pip --python /opt/venv/bin/python install --quiet --no-deps --no-index --prefix /opt/app /build/wheels/*.whl \
 && rm -r /opt/app/lib/python3.11/site-packages/edge_planning_lab

FROM ${BASE} AS operator
COPY --from=operator-dependencies /opt/venv /opt/venv
COPY --from=operator-distribution /opt/app /opt/app
ENV PATH=/opt/app/bin:/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/opt/app/lib/python3.11/site-packages \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["edge-operator"]

FROM builder AS runtime-dependencies
COPY requirements/runtime.lock /build/requirements/
# The test data of onnx's backends is four fifths of its size.
RUN /opt/venv/bin/pip install --quiet --require-hashes -r /build/requirements/runtime.lock \
 && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools pygments markdown-it-py mdurl \
 && find /opt/venv -depth -type d \( -name tests -o -path '*/onnx/backend/test' \) -path '*/site-packages/*' -exec rm -rf {} +

FROM runtime-dependencies AS runtime-distribution
COPY --from=libraries /build/wheels /build/wheels
COPY runtime /build/runtime
RUN /build/venv/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /build/wheels /build/runtime \
 && /build/venv/bin/pip --python /opt/venv/bin/python install --quiet --no-deps --no-index --prefix /opt/app /build/wheels/*.whl \
 && rm -r /opt/app/lib/python3.11/site-packages/edge_planning_lab

# onnxruntime's text operators use this locale if a model names none, such as scikit-learn's.
FROM ${BASE} AS locale
RUN if [ ! -d /usr/lib/locale/en_US.utf8 ]; then apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends locales \
 && localedef --no-archive -i en_US -f UTF-8 /usr/lib/locale/en_US.utf8; fi

FROM ${BASE} AS runtime
COPY --from=locale /usr/lib/locale/en_US.utf8 /usr/lib/locale/en_US.utf8
COPY --from=runtime-dependencies /opt/venv /opt/venv
COPY --from=runtime-distribution /opt/app /opt/app
ENV PATH=/opt/app/bin:/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/opt/app/lib/python3.11/site-packages \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["edge-runtime"]
