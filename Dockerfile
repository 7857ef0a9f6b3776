# One image for everything that runs on Fly: the reference app, the coordinator and the workers.
# Which of them it is, the command decides ([processes] in fly/*/fly.toml).
#
#   docker build -t loadtest:local .

FROM python:3.13-slim-bookworm AS packages
COPY requirements/image.lock /tmp/image.lock
# Wheels only, each with a known hash: nothing is compiled and nothing unknown gets in.
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
       --require-hashes --only-binary=:all: -r /tmp/image.lock

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin loadtest
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY loadtest ./loadtest
COPY scenarios ./scenarios
# Inside a container everything listens to the outside; on a person's machine nothing does.  Fly's
# proxy reaches the app by IPv4 (HOST); workers reach the coordinator over the private network, which
# is IPv6 (LOADTEST_BIND).
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    LOADTEST_BIND=::
# Compiled once here: a machine starts faster, and the app's user may write nothing.
RUN python -m compileall -q loadtest scenarios
USER loadtest
EXPOSE 8080
CMD ["python", "-m", "loadtest.refapp"]
