# syntax=docker/dockerfile:1
# Two images: `slim` runs every service; `torch` is the same with PyTorch, for workers whose algorithms need it.
#
#   docker build --target slim --tag voxloom:slim .
#   docker build --target torch --tag voxloom:torch .

# The version that the tests run with.
ARG PYTHON=3.11


FROM python:${PYTHON}-slim-bookworm AS build

WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# The build tool itself is held by the lock, too; newer pips have a variable of its own for that.
ENV PIP_CONSTRAINT=/build/requirements.lock PIP_BUILD_CONSTRAINT=/build/requirements.lock

COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY voxloom voxloom
COPY messages messages
COPY shared shared
COPY services services
RUN --mount=type=cache,target=/root/.cache/pip pip wheel --no-deps --wheel-dir /wheels .

# pip stays out of what runs. Nothing is compiled: there is no compiler, here or later.
RUN python -m venv --without-pip /opt/voxloom
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/voxloom/bin/python install --only-binary :all: "$(echo /wheels/voxloom-*.whl)[cluster,algorithms,bundles,oidc]"


FROM build AS build-torch

ARG TORCH=torch==2.13.0
# Another index has builds without CUDA, or with another one: --build-arg TORCH_INDEX=…
ARG TORCH_INDEX=
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/voxloom/bin/python install --only-binary :all: ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} "${TORCH}"


FROM python:${PYTHON}-slim-bookworm AS base

# tini ends what an algorithm has left behind, and hands SIGTERM on.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 voxloom \
    && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin voxloom \
    && install --directory --owner voxloom --group voxloom /var/lib/voxloom

ENV PATH=/opt/voxloom/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VOXLOOM_DATA=/var/lib/voxloom \
    VOXLOOM_HOST=0.0.0.0 \
    VOXLOOM_OPEN_TO='["10.0.0.0/8","172.16.0.0/12","192.168.0.0/16","fc00::/7"]' \
    VOXLOOM_OPS_HOST=0.0.0.0

USER 10001:10001
WORKDIR /home/voxloom
VOLUME /var/lib/voxloom
EXPOSE 5481
STOPSIGNAL SIGTERM

ENTRYPOINT ["tini", "--", "voxloom"]
CMD ["up"]


FROM base AS torch

COPY --from=build-torch /opt/voxloom /opt/voxloom
# For the NVIDIA container toolkit: which parts of the driver to bring into the container.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility


# The last: what `docker build .` makes.
FROM base AS slim

COPY --from=build /opt/voxloom /opt/voxloom
