# Two images: `controller` with Cinder and the stores, and `node` with os-brick only. Both contain the file system tools.
#   docker build --target controller -t csi-cinderlib-controller .
#   docker build --target node -t csi-cinderlib-node .
# All Python packages are locked by hash in requirements/. The images contain no build tools.
# Add the PyPI and Debian packages of a back end's driver to the controller (docs/how-to/build-images.md):
#   --build-arg DRIVER_LIBRARIES="py-pure-client" --build-arg DRIVER_PACKAGES="lvm2 python3-rbd"
# Pin the base image by its digest, since a tag can move: --build-arg BASE=docker.io/library/debian:bookworm-slim@sha256:...
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS python
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 ca-certificates \
    && rm -rf /usr/lib/python3.*/pydoc_data /usr/lib/python3.*/lib2to3 \
    && apt-get clean && rm -rf /var/lib/apt/lists/*

# Both images have the same mkfs: the controller checks a StorageClass's mkfsOptions with it, and the node creates file systems.
FROM python AS mkfs
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends e2fsprogs xfsprogs btrfs-progs \
    # 36 MB of Unicode data that only xfs_scrub uses, and repair tools that the driver does not use.
    && rm -f /usr/lib/*/libicu*.so.* /usr/sbin/xfs_scrub* \
       /usr/bin/btrfs-convert /usr/bin/btrfs-image /usr/bin/btrfs-find-root /usr/bin/btrfs-map-logical /usr/bin/btrfs-select-super \
    && apt-get clean && rm -rf /var/lib/apt/lists/*

FROM python AS builder
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-venv python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY scripts/image-venv scripts/
COPY requirements/ requirements/

# One venv per role: first the locked packages, which rarely change, then our code.
FROM builder AS builder-node
RUN scripts/image-venv packages requirements/node.txt /opt/csi-cinderlib
COPY pyproject.toml README.md LICENSE ./
COPY csi_cinderlib/ csi_cinderlib/
RUN scripts/image-venv ours /opt/csi-cinderlib

FROM builder AS builder-controller
RUN scripts/image-venv packages requirements/controller.txt /opt/csi-cinderlib
ARG DRIVER_LIBRARIES=""
RUN scripts/image-venv libraries requirements/controller.txt "$DRIVER_LIBRARIES" /opt/csi-cinderlib
COPY pyproject.toml README.md LICENSE ./
COPY csi_cinderlib/ csi_cinderlib/
RUN scripts/image-venv ours /opt/csi-cinderlib

FROM mkfs AS controller
LABEL org.opencontainers.image.title="csi-cinderlib controller" \
      org.opencontainers.image.description="CSI controller for every storage back end that OpenStack Cinder supports" \
      org.opencontainers.image.licenses="Apache-2.0"
ARG DRIVER_PACKAGES=""
# A driver's packages may need the libraries whose files the stage mkfs removed.
RUN [ -z "$DRIVER_PACKAGES" ] || { apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends --reinstall \
       $(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' 'libicu*' | sed -n 's/^ii //p') $DRIVER_PACKAGES \
    && apt-get clean && rm -rf /var/lib/apt/lists/*; }
COPY --from=builder-controller /opt/csi-cinderlib /opt/csi-cinderlib
ENV PATH=/opt/csi-cinderlib/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["csi-cinderlib"]
CMD ["serve", "--mode", "controller"]

# For file systems, encryption and NFS mounts, the node uses the image's tools, whose versions are known. For iSCSI, multipath, NVMe and
# Ceph, it uses the host's tools, because their daemons and keys are on the host: deploy/host-tool runs them in the host's mount namespace.
FROM mkfs AS node
LABEL org.opencontainers.image.title="csi-cinderlib node" \
      org.opencontainers.image.description="CSI node plugin of csi-cinderlib: os-brick, file systems, mounts" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
       util-linux mount nfs-common cryptsetup-bin \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY --from=builder-node /opt/csi-cinderlib /opt/csi-cinderlib
COPY --chmod=755 deploy/host-tool /usr/local/sbin/host-tool
RUN for tool in iscsiadm multipath multipathd nvme rbd lsscsi mdadm; do \
        ln -s host-tool /usr/local/sbin/$tool; done
ENV PATH=/opt/csi-cinderlib/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENTRYPOINT ["csi-cinderlib"]
CMD ["serve", "--mode", "node"]
