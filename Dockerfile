# The gateway with V0's weights, on the CPU. Build: docker build -t v0-router .
# constraints.txt names the release of torch, so that no CUDA packages come along; where your package index has another
# build of it, name one with CPU wheels: --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu

FROM python:3.11-slim-bookworm AS build
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL}
RUN python -m venv /opt/v0-router
ENV PATH=/opt/v0-router/bin:$PATH
WORKDIR /src
# torch first: a layer that a change of the code leaves alone
COPY constraints.txt ./
RUN pip install --constraint constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY router router
COPY fleet fleet
COPY benchmarks benchmarks
RUN pip install --constraint constraints.txt ".[postgres,otel]" && router --help > /dev/null

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin router
COPY --from=build /opt/v0-router /opt/v0-router
ENV PATH=/opt/v0-router/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
# up, not ready: /readyz waits for V0 and for the store, and a restart would cure neither
HEALTHCHECK --interval=15s --timeout=3s --start-period=30s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["router"]
CMD ["serve", "--config", "/config/router.yaml", "--host", "0.0.0.0", "--port", "8000"]
