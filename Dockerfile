# syntax=docker/dockerfile:1
# `docker build .` compiles in here. `make image` compiles outside and puts its folder in the place of the first stage
# (--build-context build=…), so that it needs no base image and no network.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ARG TARGETARCH
RUN GOARCH="${TARGETARCH}" scripts/image-root /out "${VERSION}"

FROM scratch
ARG VERSION=devel
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="ums" \
      org.opencontainers.image.description="User Management Service" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="https://github.com/user-management-service/ums" \
      org.opencontainers.image.documentation="https://github.com/user-management-service/ums/blob/main/docs/operations/deployment.md" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/root/ /
# The one folder that the service may write; a container needs it in development alone. The rest works with a read-only root.
COPY --from=build --chown=65532:65532 /out/owned/ /
ENV UMS_ENV=production \
    UMS_HTTP_ADDR=0.0.0.0:8080 \
    UMS_DATA_DIR=/data
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["/ums", "healthcheck"]
ENTRYPOINT ["/ums"]
CMD ["serve"]
