# One image for every role: `docker run vdb-actor start --role=query`.
#
# Not run here: there was no container engine. What was run are the same commands, in the same order, in a clean copy of
# the repository on Debian 12 with Node 20 (npm ci, faiss-node and the search engine compiled, build, prune, then the
# command line from what the last stage copies). The base images' own contents and the two apt-get lines are as
# documented, not tried.

FROM node:20-bookworm-slim AS build
# To compile the search engine, and faiss-node where its prebuilt binary does not load or cannot be had.
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates g++ libfaiss-dev libopenblas0-openmp \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/vdb
COPY package.json package-lock.json ./
# No install scripts: faiss-node's would download and build by itself, the next step does it our way.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY scripts/setup scripts/setup
COPY native native
RUN node --input-type=module -e 'import { setupFaissNode } from "./scripts/setup/faiss-node.mjs"; setupFaissNode(".");'
# It goes on without the engine where that does not compile; the copy below then fails, so that no image is slow unnoticed.
RUN node --input-type=module -e 'import { setupNative } from "./scripts/setup/native.mjs"; await setupNative(process.cwd());'
COPY . .
RUN node --input-type=module -e 'import { buildProject } from "./scripts/setup/build.mjs"; buildProject(".");' \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:20-bookworm-slim
# What a faiss-node compiled above loads: FAISS itself is linked in.
RUN apt-get update \
  && apt-get install -y --no-install-recommends libgomp1 libopenblas0-openmp \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/vdb
COPY --from=build /opt/vdb/package.json ./
COPY --from=build /opt/vdb/node_modules node_modules
COPY --from=build /opt/vdb/dist dist
COPY --from=build /opt/vdb/.vdb-tools/native/vdb-native.node .vdb-tools/native/
RUN ln -s /opt/vdb/dist/runtime/cli.js /usr/local/bin/vdb-actor \
  && mkdir /var/lib/vdb \
  && chown node:node /var/lib/vdb
USER node
# Caches and job files: may be lost at any time, what must last is in NATS.
ENV NODE_ENV=production VDB_NODE__DATA_DIR=/var/lib/vdb
VOLUME /var/lib/vdb
EXPOSE 19530 9091
ENTRYPOINT ["vdb-actor"]
CMD ["--help"]
