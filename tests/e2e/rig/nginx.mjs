// SPDX-License-Identifier: GPL-3.0-or-later
// Debian's nginx: as TLS front of SimpleSAMLphp and as a backend.
import { writeFileSync } from 'node:fs';

// `servers` is nginx configuration inside http { }.
export async function startNginx(world, name, servers, port) {
  const dir = world.mkdir(`nginx-${name}`);
  writeFileSync(`${dir}/nginx.conf`, `
user root;
worker_processes 1;
daemon off;
pid ${dir}/nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fcgi;
  uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
  client_max_body_size 200m;
  proxy_buffer_size 32k; proxy_buffers 8 32k; large_client_header_buffers 8 32k;
  default_type text/plain;
  ${servers}
}
`);
  return world.start(`nginx-${name}`, '/usr/sbin/nginx', ['-e', 'stderr', '-p', dir, '-c', `${dir}/nginx.conf`], { port });
}

// nginx as an application: answers by itself under /nginx/, hands the rest to the node backend.
export async function startNginxBackend(world, nodePort) {
  const port = await world.port();
  const lines = ['host', 'x_sallyport_user', 'x_sallyport_email', 'x_sallyport_groups', 'x_sallyport_name',
    'x_sallyport_provider', 'cookie', 'x_forwarded_for', 'x_forwarded_proto', 'x_forwarded_host', 'forwarded']
    .map((n) => `${n}=$http_${n}`).join('\\n');
  const process = await startNginx(world, 'backend', `
  server {
    listen 127.0.0.1:${port};
    server_tokens on;
    location /nginx/ { return 200 "nginx\\n${lines}\\n"; }
    location / {
      proxy_pass http://127.0.0.1:${nodePort};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_request_buffering off;
      proxy_buffering off;
    }
  }`, port);
  return { port, process, url: `http://127.0.0.1:${port}` };
}
