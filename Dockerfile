# The service and the client in one virtual environment; nothing of the build stays behind.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY client ./client
COPY config ./config
COPY worker ./worker
COPY tasks ./tasks
COPY gateway ./gateway
COPY simulator ./simulator
RUN python -m venv /opt/refundry \
    && /opt/refundry/bin/pip install --no-cache-dir --disable-pip-version-check ./client .

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 refundry \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/refundry refundry \
    && install -d -o refundry -g refundry -m 0700 /var/lib/refundry
COPY --from=build /opt/refundry /opt/refundry
ENV PATH=/opt/refundry/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    REFUNDRY_HOME=/var/lib/refundry
USER 10001:10001
WORKDIR /var/lib/refundry
CMD ["refundry", "--help"]
