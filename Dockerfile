# syntax=docker/dockerfile:1
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/ums ./cmd/ums
# What an empty image lacks: a user, a folder that he may write, and certificates. Time zones are in the program.
RUN mkdir -p /out/data /out/etc/ssl/certs \
 && echo 'ums:x:65532:65532:ums:/data:/sbin/nologin' > /out/etc/passwd \
 && echo 'ums:x:65532:' > /out/etc/group \
 && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ \
 && chown 65532:65532 /out/data

FROM scratch
ARG VERSION=devel
LABEL org.opencontainers.image.title="ums" \
      org.opencontainers.image.description="User Management Service" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/ /
ENV UMS_ENV=production \
    UMS_HTTP_ADDR=0.0.0.0:8080 \
    UMS_DATA_DIR=/data
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["/ums", "healthcheck"]
ENTRYPOINT ["/ums"]
CMD ["serve"]
