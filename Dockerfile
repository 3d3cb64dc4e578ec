# SPDX-License-Identifier: GPL-3.0-or-later
# docker build -t sallyport .
# docker run -v ./sallyport:/etc/sallyport:ro -v sallyport-state:/var/lib/sallyport -p 443:443 sallyport
# See docs/docker.md for what must be in the two volumes.
FROM debian:12-slim AS build
ENV DEBIAN_FRONTEND=noninteractive
COPY packaging/packages.build /tmp/packages.build
RUN apt-get update && xargs -a /tmp/packages.build apt-get install -y --no-install-recommends
COPY . /src
RUN meson setup /build /src --prefix=/usr --buildtype=debugoptimized --strip -Dtests=false && DESTDIR=/out meson install -C /build

FROM debian:12-slim
ENV DEBIAN_FRONTEND=noninteractive
COPY packaging/packages.run /tmp/packages.run
RUN apt-get update && xargs -a /tmp/packages.run apt-get install -y --no-install-recommends && rm -rf /var/lib/apt/lists/* /tmp/packages.run
RUN useradd --system --uid 10001 --home-dir /var/lib/sallyport --shell /usr/sbin/nologin sallyport && install -d -m 0700 -o sallyport -g sallyport /var/lib/sallyport /run/sallyport && install -d -m 0755 /etc/sallyport
COPY --from=build /out/usr/bin/sallyport /usr/bin/sallyport
USER sallyport
WORKDIR /etc/sallyport
VOLUME /var/lib/sallyport
EXPOSE 443 80
# The operations socket that the configuration names with `operations: unix:/run/sallyport/ops.sock`.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s CMD ["curl", "-fsS", "-o", "/dev/null", "--max-time", "4", "--unix-socket", "/run/sallyport/ops.sock", "http://localhost/healthz"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/sallyport"]
CMD ["serve", "--config", "/etc/sallyport/sallyport.yaml"]
