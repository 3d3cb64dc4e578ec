// SPDX-License-Identifier: GPL-3.0-or-later
// The one application behind everything: nginx with files, and a sink for uploads. Its address `strict` answers 403 unless the
// request says that it comes from ann; so a figure of 200s is one of requests with an identity.
import { randomBytes } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';

export const MIB = 1024 ** 2;
export const SMALL = 1024;
export const LARGE = 10 * MIB;
export const HUGE = 1024 * MIB;

// mod_auth_openidc's names have underscores.
const config = (dir, { open, strict, status }) => `
${process.getuid() === 0 ? 'user root;' : ''}
worker_processes 1;
daemon off;
pid ${dir}/nginx.pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fcgi;
  uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
  default_type text/plain;
  sendfile on; tcp_nopush on; open_file_cache max=100;
  keepalive_requests 1000000000; keepalive_timeout 600s;
  underscores_in_headers on;
  map "$http_x_sallyport_email $http_oidc_claim_email $http_x_remote_user" $known { default 0; "~ann@example\\.com" 1; }
  server { listen 127.0.0.1:${open} backlog=4096; root ${dir}/files; }
  server { listen 127.0.0.1:${strict} backlog=4096; root ${dir}/files; if ($known = 0) { return 403; } }
  server { listen 127.0.0.1:${status}; location / { stub_status; } }
}
`;

const get = (port) => new Promise((resolve, reject) => {
  http.get({ host: '127.0.0.1', port, path: '/' }, (res) => {
    let text = '';
    res.on('data', (d) => { text += d; });
    res.on('end', () => resolve(text));
  }).on('error', reject);
});

export async function startBackend(world, tools) {
  const dir = world.mkdir('backend');
  const files = world.mkdir('backend/files');
  const small = 'x'.repeat(SMALL - 1).concat('\n');
  writeFileSync(`${files}/1k`, small);
  writeFileSync(`${files}/10m`, randomBytes(LARGE));
  writeFileSync(`${files}/1g`, '');
  truncateSync(`${files}/1g`, HUGE); // takes no room on the disk
  const ports = { open: await world.port(), strict: await world.port(), status: await world.port(), sink: await world.port() };
  writeFileSync(`${dir}/nginx.conf`, config(dir, ports));
  await world.service('backend', '/usr/sbin/nginx', ['-e', 'stderr', '-p', dir, '-c', `${dir}/nginx.conf`], { port: ports.status });
  await world.service('sink', path.join(tools, 'bench-sink'), [String(ports.sink)], { port: ports.sink });
  return {
    ...ports, files, small,
    // How many requests the application has seen, of them 1 for each call of this.
    requests: async () => Number(/\n *\d+ +\d+ +(\d+)/.exec(await get(ports.status))[1]),
    received: async () => Number(await get(ports.sink)),
  };
}
