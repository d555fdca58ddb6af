# The example's web server and worker:  docker build -f deploy/app.Dockerfile examples/progress
FROM node:22-alpine
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund
COPY *.mjs index.html ./
USER node
ENV NODE_ENV=production
CMD ["node", "web.mjs"]
