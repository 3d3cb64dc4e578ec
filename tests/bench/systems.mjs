// SPDX-License-Identifier: GPL-3.0-or-later
// The systems that are compared. Each is { key, label, pid, host, port, cookie, service }: the same certificate, TLS 1.2 and 1.3,
// HTTP/1.1 and HTTP/2, two workers, kept connections to the same application, and no limit on requests for a connection.
import { chownSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { makeSigningPair } from '../e2e/rig/tls.mjs';
import { request } from '../e2e/rig/http.mjs';
import { until } from '../e2e/rig/world.mjs';

const isRoot = process.getuid() === 0;
export const WORKERS = 2;
export const USER = 'nobody';
export const uidOf = (user) => Number(execFileSync('id', ['-u', user]).toString());

// Those that Sallyport chooses by itself; the others are told to.
const CIPHERS_13 = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';
const CIPHERS_12 = 'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384';

// ---- nginx, without any login

const nginxConfig = (dir, { port, edge, backend, log }) => `
${isRoot ? `user ${USER} nogroup;` : ''}
worker_processes ${WORKERS};
daemon off;
pid ${dir}/nginx.pid;
error_log stderr warn;
events { worker_connections 16384; }
http {
  access_log ${log ? `${dir}/access.log` : 'off'};
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fcgi;
  uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
  default_type text/plain;
  keepalive_requests 1000000000; keepalive_timeout 600s;
  client_max_body_size 0;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on;
  ssl_ciphers ${CIPHERS_12}; ssl_conf_command Ciphersuites ${CIPHERS_13}; ssl_ecdh_curve X25519:prime256v1;
  ssl_session_cache shared:tls:10m;
  upstream app { server 127.0.0.1:${backend.open}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s; }
  upstream sink { server 127.0.0.1:${backend.sink}; keepalive 64; keepalive_requests 1000000000; keepalive_timeout 600s; }
  server {
    listen 127.0.0.1:${port} ssl http2 backlog=4096;
    server_name nginx.test;
    ssl_certificate ${edge.cert}; ssl_certificate_key ${edge.key};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto https;
    proxy_max_temp_file_size 0;
    proxy_request_buffering off; http2_body_preread_size 256k; # as Sallyport's window is
    location / { proxy_pass http://app; }
    location /upload { proxy_pass http://sink; }
  }
}
`;

export async function startNginx(world, { edge, backend, log = false }) {
  const name = log ? 'nginx-log' : 'nginx';
  const dir = world.mkdir(name);
  const port = await world.port();
  if (isRoot) chownSync(dir, uidOf(USER), -1);
  writeFileSync(`${dir}/nginx.conf`, nginxConfig(dir, { port, edge, backend, log }));
  const service = await world.service(name, '/usr/sbin/nginx', ['-e', 'stderr', '-p', dir, '-c', `${dir}/nginx.conf`], { port });
  return { key: name, label: log ? 'nginx, access log' : 'nginx', host: 'nginx.test', port, service, pid: service.pid, login: false, accessLog: log && `${dir}/access.log` };
}

// ---- Apache httpd

const MODULES = '/usr/lib/apache2/modules';
const COMMON_MODULES = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'headers', 'proxy', 'proxy_http', 'socache_shmcb', 'ssl', 'http2'];

const apacheConfig = (dir, { host, port, edge, backend, modules, login }) => `
ServerRoot ${dir}
ServerName ${host}
PidFile ${dir}/httpd.pid
Mutex file:${dir} default
ErrorLog ${dir}/error.log
LogLevel warn
${isRoot ? 'User www-data\nGroup www-data' : ''}
${[...COMMON_MODULES, ...modules].map((m) => `LoadModule ${m}_module ${MODULES}/mod_${m}.so`).join('\n')}
Listen 127.0.0.1:${port}
ListenBacklog 4096
ServerLimit ${WORKERS}
StartServers ${WORKERS}
ThreadsPerChild 64
ThreadLimit 64
MaxRequestWorkers ${WORKERS * 64}
MinSpareThreads 1
MaxSpareThreads ${WORKERS * 64}
AsyncRequestWorkerFactor 200
MaxConnectionsPerChild 0
KeepAlive On
KeepAliveTimeout 600
MaxKeepAliveRequests 0
Protocols h2 http/1.1
SSLProtocol -all +TLSv1.2 +TLSv1.3
SSLHonorCipherOrder on
SSLCipherSuite ${CIPHERS_12}
SSLCipherSuite TLSv1.3 ${CIPHERS_13}
SSLSessionCache shmcb:${dir}/tls-sessions(512000)
ProxyPreserveHost On
ProxyRequests Off
<VirtualHost 127.0.0.1:${port}>
  ServerName ${host}:${port}
  UseCanonicalName Off
  SSLEngine on
  SSLCertificateFile ${edge.cert}
  SSLCertificateKeyFile ${edge.key}
  ProxyPass /mellon !
  ProxyPass /oidc !
  ProxyPass /upload http://127.0.0.1:${backend.sink}/upload keepalive=On
  ProxyPass / http://127.0.0.1:${backend.strict}/ keepalive=On
${login}
</VirtualHost>
`;

async function startApache(world, name, settings) {
  const dir = world.mkdir(name);
  if (isRoot) chownSync(dir, uidOf('www-data'), -1);
  const port = settings.port ?? await world.port();
  writeFileSync(`${dir}/httpd.conf`, apacheConfig(dir, { ...settings, port }));
  const service = await world.service(name, '/usr/sbin/apache2', ['-d', dir, '-f', `${dir}/httpd.conf`, '-DFOREGROUND'], { port });
  return { key: name, label: settings.label, host: settings.host, port, service, pid: service.pid, login: true };
}

const CLIENT = 'client-apache';
const CLIENT_SECRET = 'bench-client-secret-0123456789-0123456789';

// The port comes first: the provider has to know the address.
export async function startOpenidc(world, { edge, backend, oidc, ca, port }) {
  const login = `
  OIDCProviderMetadataURL ${oidc.issuer}/.well-known/openid-configuration
  OIDCClientID ${CLIENT}
  OIDCClientSecret ${CLIENT_SECRET}
  OIDCRedirectURI https://openidc.test:${port}/oidc/callback
  OIDCCryptoPassphrase bench-passphrase-0123456789
  OIDCScope "openid email profile groups"
  OIDCPKCEMethod S256
  OIDCSessionType server-cache
  OIDCSessionInactivityTimeout 3600
  OIDCCABundlePath ${ca.cert}
  OIDCRemoteUserClaim email
  <Location />
    AuthType openid-connect
    Require claim groups:staff
  </Location>`;
  return startApache(world, 'apache-openidc', { label: 'Apache httpd, mod_auth_openidc', host: 'openidc.test', port, edge, backend, modules: ['auth_openidc'], login });
}

export const openidcClient = (port) => ({ id: CLIENT, secret: CLIENT_SECRET, callback: `https://openidc.test:${port}/oidc/callback` });

export async function startMellon(world, { edge, backend, saml, spFile }) {
  const keys = world.mkdir('mellon-keys');
  const pair = await makeSigningPair(world, keys, 'sp');
  const idp = `${keys}/idp.xml`;
  writeFileSync(spFile, '<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata"/>'); // until there is ours
  writeFileSync(idp, await saml.metadata());
  if (isRoot) for (const f of [pair.cert, pair.key, idp]) chownSync(f, uidOf('www-data'), -1);
  const login = `
  <Location />
    MellonEnable auth
    MellonEndpointPath /mellon
    MellonSPPrivateKeyFile ${pair.key}
    MellonSPCertFile ${pair.cert}
    MellonIdPMetadataFile ${idp}
    MellonCookieSameSite None
    MellonSecureCookie On
    MellonCond eduPersonAffiliation staff
    AuthType Mellon
    Require valid-user
    RequestHeader set X-Remote-User "%{MELLON_mail}e"
  </Location>`;
  const system = await startApache(world, 'apache-mellon', { label: 'Apache httpd, mod_auth_mellon', host: 'mellon.test', edge, backend, modules: ['auth_mellon'], login });
  const metadata = await request(`https://mellon.test:${system.port}/mellon/metadata`);
  if (metadata.status !== 200) throw new Error(`mellon gives no metadata: ${metadata.status}`);
  writeFileSync(spFile, metadata.body);
  return system;
}

// ---- Sallyport

const SALLYPORT_CLIENT = (key) => `client-${key}`;

export const sallyportClient = (key, port) => ({
  id: SALLYPORT_CLIENT(key), secret: CLIENT_SECRET, callback: `https://login.test:${port}/.sallyport/oidc/corp/callback`,
});

// `boards`: the path of a route that has boards.
function sallyportConfig(world, key, { port, edge, backend, oidc, ca, operations, boards }) {
  const secret = world.path(`${key}.secret`);
  const state = world.mkdir(`${key}-state`, 0o700);
  writeFileSync(secret, `${CLIENT_SECRET}\n`, { mode: 0o600 });
  if (isRoot) chownSync(state, uidOf(USER), -1);
  return {
    login: { host: 'login.test' },
    listen: [{ address: `127.0.0.1:${port}`, tls: { certificates: [{ cert: edge.cert, key: edge.key }] } }],
    state, operations: `127.0.0.1:${operations}`, workers: WORKERS, verifiers: 2, ...(isRoot && { user: USER }),
    session: { idle: '2h', lifetime: '8h', size: '16GiB' },
    timeouts: { idle: '600s', drain: '2s' },
    limits: { connections: 30000, connections_per_address: 30000 },
    identity_providers: {
      corp: { protocol: 'oidc', issuer: oidc.issuer, client_id: SALLYPORT_CLIENT(key), client_secret: { file: secret }, scopes: ['openid', 'email', 'profile', 'groups'], ca: ca.cert },
    },
    routes: [
      { host: 'app.test', backends: [`http://127.0.0.1:${backend.strict}`], policy: 'staff' },
      { host: 'app.test', path: '/upload', backends: [`http://127.0.0.1:${backend.sink}`], policy: 'staff' },
      ...(boards ? [{ host: 'app.test', path: boards, pico: {}, policy: 'staff' }] : []),
    ],
    policies: { staff: [{ allow: { groups: ['staff'] } }] },
  };
}

export async function startSallyport(world, { key = 'sallyport', label = 'Sallyport', port, ...parts }) {
  const file = world.path(`${key}.yaml`);
  const operations = await world.port();
  const config = sallyportConfig(world, key, { ...parts, port, operations });
  writeFileSync(file, `${JSON.stringify(config, null, 2)}\n`); // JSON is YAML
  const system = { key, label, host: 'app.test', port, login: true, state: config.state, config: file };
  system.start = async () => {
    system.service = await world.service(key, parts.sallyport, ['serve', '--config', file], { port });
    system.pid = system.service.pid;
    await until(`${label} to know its identity provider`, async () => {
      const r = await request(`https://login.test:${port}/.sallyport/login?idp=corp`, { headers: { Accept: 'text/html', 'Sec-Fetch-Mode': 'navigate' } });
      return r.status < 400;
    }, { ms: 20000, every: 200 });
  };
  await system.start();
  return system;
}
