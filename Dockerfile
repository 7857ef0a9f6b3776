# One image for everything that runs elsewhere: the reference app, its database, the coordinator and the
# workers.  Which of them it is, the command decides ([processes] in fly/*/fly.toml; deploy/).
#
#   docker build -t loadtest:local .
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/loadtest:VERSION --push .

FROM python:3.13-slim-bookworm AS packages
COPY requirements/image.lock requirements/build.lock /tmp/
# Wheels only, each with a known hash: nothing is compiled and nothing unknown gets in.  PostgreSQL's
# binaries are in one of them, for the machine's own processor.
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
       --require-hashes --only-binary=:all: -r /tmp/image.lock \
    && python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check \
       --require-hashes --only-binary=:all: -r /tmp/build.lock
COPY pyproject.toml README.md LICENSE /source/
COPY loadtest /source/loadtest
COPY scenarios /source/scenarios
COPY fly /source/fly
# As a package, so that a worker knows its version: one of another than its coordinator is refused.
RUN /opt/build/bin/pip wheel --no-cache-dir --disable-pip-version-check --no-deps \
       --no-build-isolation --wheel-dir /wheel /source \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-index \
       /wheel/*.whl
# Compiled once here: a machine starts faster, and the app's user may write nothing.
RUN /opt/venv/bin/python -m compileall -q /opt/venv/lib

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --user-group --home-dir /app --shell /usr/sbin/nologin loadtest
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY scenarios ./scenarios
# Inside a container everything listens to the outside; on a person's machine nothing does.  Fly's
# proxy reaches the app by IPv4 (HOST); workers reach the coordinator over the private network, which
# is IPv6 (LOADTEST_BIND).
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    LOADTEST_BIND=::
USER 10001:10001
EXPOSE 8080 8089 5557
CMD ["python", "-m", "loadtest.refapp"]
