# Redis, plus a data directory that any user can write. A new volume takes owner and mode from the directory it is
# mounted on, and in the public image that belongs to Redis's own user, who in turn could not read the ACL file: that
# one belongs to whoever runs the containers. Nobody but Redis runs in this container, and what loads hubnet's functions.
ARG HUBNET_REDIS_IMAGE=redis:7
FROM ${HUBNET_REDIS_IMAGE}
USER 0
RUN mkdir -p /data && chmod 0777 /data
USER 1000:1000
COPY docker/redis/ /usr/local/lib/hubnet/
WORKDIR /data
