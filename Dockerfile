# One image for every stemdrop command, and the images for docker-compose.yml, which pins the base images.
ARG PYTHON_IMAGE=python:3.13-slim
ARG CADDY_IMAGE=caddy:2-alpine
ARG TELEGRAM_IMAGE=aiogram/telegram-bot-api:9.6

# The web server of the profiles `https`, `tunnel` and `port`, with its own folder for certificates.
FROM ${CADDY_IMAGE} AS proxy
COPY ops/Caddyfile /etc/caddy/Caddyfile
COPY ops/serve /usr/local/bin/serve
RUN mkdir -p /var/lib/caddy && chown 10001:10001 /var/lib/caddy
ENV XDG_DATA_HOME=/var/lib/caddy XDG_CONFIG_HOME=/tmp
USER 10001:10001
CMD ["serve"]

# The Bot API server of the profile `bigfiles`, run as the user that reads its files in the other containers.
FROM ${TELEGRAM_IMAGE} AS telegram
RUN mkdir -p /var/lib/stemdrop/telegram/tmp && chown -R 10001:10001 /var/lib/stemdrop/telegram
USER 10001:10001
# Uploads are first written to the temporary folder: on disk, because they may have 2 GB.
ENTRYPOINT ["telegram-bot-api", "--local", "--http-port=8081", "--dir=/var/lib/stemdrop/telegram", \
  "--temp-dir=/var/lib/stemdrop/telegram/tmp"]
CMD []

# The requirements, which change seldom.
FROM ${PYTHON_IMAGE} AS needs
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.lock .
# Every file is checked against the lock's hashes; everything below is installed from these files only.
RUN python3 -m pip download --quiet --no-deps --require-hashes --requirement requirements.lock --dest wheels
RUN python3 -m venv tools && tools/bin/pip install --quiet --no-index --find-links wheels hatchling editables
COPY pyproject.toml .
# The extra `separator` or `sandbox` of pyproject.toml, for the commands of these names; `neural` for HTDemucs.
ARG EXTRAS=""
RUN mkdir stemdrop bot webhook worker separator sandbox && touch README.md LICENSE NOTICE stemdrop/__init__.py \
 && tools/bin/pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir empty . \
 && python3 -m venv --without-pip /opt/stemdrop \
 && tools/bin/pip --python /opt/stemdrop/bin/python install --quiet --no-index --find-links wheels \
    "stemdrop[${EXTRAS}] @ file://$(echo /build/empty/stemdrop-*.whl)" \
 && tools/bin/pip --python /opt/stemdrop/bin/python uninstall --quiet --yes stemdrop

# The separator's trained model, for the images with the extra `separator` or `sandbox`. Without a network the image
# has none, and the separator uses its light engine.
FROM needs AS models
COPY separator separator
COPY stemdrop/http stemdrop/http
RUN mkdir models && test -z "$EXTRAS" || PATH=/build/tools/bin:$PATH STEMDROP_MODELS=/build/models \
    /opt/stemdrop/bin/python -m separator.fetch_model spleeter \
    || echo "WARNING: this image has NO TRAINED MODEL: its separator uses the light engine, of lower quality." >&2

# The project.
FROM needs AS own
COPY . .
RUN tools/bin/pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir own .

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 stemdrop \
 && useradd --uid 10001 --gid stemdrop --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin stemdrop \
 && for folder in stems segments telegram separator sandbox; do install -d -o 10001 -g 10001 /var/lib/stemdrop/$folder; done \
 && install -d -o 10001 -g 10001 /var/lib/stemdrop/telegram/tmp
COPY --from=needs /opt/stemdrop /opt/stemdrop
COPY --from=models /build/models /opt/stemdrop/models
RUN --mount=type=bind,from=own,source=/build/own,target=/own \
    python3 -m pip --python /opt/stemdrop/bin/python install --quiet --no-deps --no-index --no-cache-dir \
    --root-user-action ignore --disable-pip-version-check /own/stemdrop-*.whl
ENV PATH=/opt/stemdrop/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 STEMDROP_HEALTH_FILE=/tmp/health \
    STEMDROP_MODELS=/opt/stemdrop/models
# An empty folder that the process cannot write to: it writes only to /tmp and its volumes.
WORKDIR /srv
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["python", "-m", "stemdrop.observability.container_health"]
ENTRYPOINT ["stemdrop"]
CMD ["up"]
