# Triton with the python backend, from the wheel that carries both. The backend starts one Python per model, whose
# version must be the stub's; onnxruntime in it is what runs the slices.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
ARG PIP_CERT PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST
ARG PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/triton.lock /build/
RUN python3 -m venv /build/venv && /build/venv/bin/pip install --quiet --require-hashes -r /build/triton.lock
# Triton looks for its backend's stub beside the backend; of the wheel's own dependencies it needs none.
RUN set -e; packages=/build/venv/lib/python3.11/site-packages; server=pytriton/tritonserver \
 && mkdir -p /opt/triton/$server /opt/python && cd $packages \
 && cp -a nvidia_pytriton.libs /opt/triton/ && cp -a $server/bin $server/backends /opt/triton/$server/ \
 && cp -a $server/python_backend_stubs/3.11/triton_python_backend_stub /opt/triton/$server/backends/python/ \
 && cp -a numpy numpy.libs onnxruntime flatbuffers google packaging ml_dtypes /opt/python/ \
 && find /opt/python -depth -type d \( -name tests -o -path '*/onnxruntime/transformers' \) -exec rm -rf {} +

# onnxruntime's text operators take this locale where a model names none, as scikit-learn's do.
FROM ${BASE} AS locale
RUN if [ ! -d /usr/lib/locale/en_US.utf8 ]; then apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends locales \
 && localedef --no-archive -i en_US -f UTF-8 /usr/lib/locale/en_US.utf8; fi

FROM ${BASE}
COPY --from=locale /usr/lib/locale/en_US.utf8 /usr/lib/locale/en_US.utf8
COPY --from=builder /opt/triton /opt/triton
COPY --from=builder /opt/python /opt/python
# The stub's Python looks at no PYTHONPATH.
RUN folder=$(python3 -c 'import site; print(site.getsitepackages()[0])') && mkdir -p $folder && echo /opt/python > $folder/triton.pth
ENV PATH=/opt/triton/pytriton/tritonserver/bin:/usr/local/bin:/usr/bin:/bin \
    LD_LIBRARY_PATH=/opt/triton/nvidia_pytriton.libs PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["tritonserver"]
CMD ["--model-control-mode=explicit", "--model-repository=/models", "--backend-directory=/opt/triton/pytriton/tritonserver/backends"]
