// SPDX-License-Identifier: GPL-3.0-or-later
// Debian's haproxy and nginx in front of the gateway: who the visitor is in logs, headers and rules.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Client, request } from './rig/http.mjs';
import { oidcLogin } from './rig/journey.mjs';
import { startNginx } from './rig/nginx.mjs';
import { Stage } from './rig/stage.mjs';
import { until } from './rig/world.mjs';

async function startHaproxy(world, frontends) {
  const dir = world.mkdir('haproxy');
  writeFileSync(`${dir}/haproxy.cfg`, `
global
  log stderr local0 warning
defaults
  timeout connect 5s
  timeout client 60s
  timeout server 60s
${frontends.map(({ name, port, mode, target, options }) => `
frontend ${name}
  mode ${mode}
  bind 127.0.0.1:${port}
  default_backend ${name}
backend ${name}
  mode ${mode}
  server gateway 127.0.0.1:${target} ${options}
`).join('')}`);
  return world.start('haproxy', '/usr/sbin/haproxy', ['-db', '-f', `${dir}/haproxy.cfg`], { port: frontends[0].port });
}

describe('behind another proxy', () => {
  let stage;
  let ports;
  // The same hosts, by way of another port: the browser's address stays what it is.
  const via = (port, path, options = {}, host = 'open.test') => request(stage.url(host, path), { connectPort: port, ...options });

  before(async () => {
    stage = await Stage.start('behind_proxy', {
      oidc: { op: {} },
      routes: (s) => [
        { host: 'inside.test', backends: [s.backend.url], policy: 'inside' },
      ],
      policies: { inside: [{ allow: { groups: ['staff'], addresses: ['127.0.9.0/24'] } }] },
      config: async (s) => {
        const world = s.world;
        ports = { proxied: await world.port(), plain: await world.port(), v1: await world.port(), v2: await world.port(), nginx: await world.port() };
        const tls = { certificates: [{ cert: s.edge.cert, key: s.edge.key }] };
        return {
          trusted_proxies: ['127.0.0.1/32'],
          listen: [
            { address: `127.0.0.1:${s.gateway.port}`, tls },
            { address: `127.0.0.1:${ports.proxied}`, tls, proxy_protocol: true },
            { address: `127.0.0.1:${ports.plain}` },
          ],
          limits: { connections: 64, connections_per_address: 8 },
        };
      },
    });
    await startHaproxy(stage.world, [
      { name: 'v1', port: ports.v1, mode: 'tcp', target: ports.proxied, options: 'send-proxy' },
      { name: 'v2', port: ports.v2, mode: 'tcp', target: ports.proxied, options: 'send-proxy-v2 proxy-v2-options crc32c,unique-id' },
    ]);
    await startNginx(stage.world, 'front', `
  server {
    listen 127.0.0.1:${ports.nginx} ssl;
    ssl_certificate ${stage.edge.cert};
    ssl_certificate_key ${stage.edge.key};
    location / {
      proxy_pass http://127.0.0.1:${ports.plain};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header Forwarded "";
      proxy_set_header Connection "";
    }
  }`, ports.nginx);
  });
  after(() => stage?.close());

  const echoed = async (port, from, headers = {}) => {
    const res = await via(port, '/echo', { localAddress: from, headers });
    assert.equal(res.status, 200);
    return JSON.parse(res.body).headers;
  };
  const logged = (which) => until('the log line', () => stage.gateway.lines().some(which), { ms: 3000 });
  const spoofed = { 'x-forwarded-for': '198.51.100.66', 'x-real-ip': '198.51.100.66', 'x-forwarded-proto': 'https' };

  for (const which of ['v1', 'v2', 'nginx']) {
    it(`${which}: the application and the log are told the visitor's address`, async () => {
      const { result: headers, lines } = await stage.gateway.accessDuring(() => echoed(ports[which], '127.0.9.7', spoofed));
      assert.equal(headers['x-forwarded-for'], '127.0.9.7');
      assert.match(headers.forwarded, /^for=127\.0\.9\.7;/);
      assert.equal(headers['x-forwarded-proto'], 'https');
      assert.ok(!JSON.stringify(headers).includes('198.51.100.66'), JSON.stringify(headers));
      assert.deepEqual(lines.map((l) => l.client), ['127.0.9.7']);
    });

    it(`${which}: rules go by the visitor's address`, async () => {
      const ann = new Client({ port: stage.gateway.port, connectPort: ports[which], localAddress: '127.0.9.7' });
      const page = stage.url('inside.test', '/echo');
      await oidcLogin(ann, page, 'ann');
      assert.equal((await ann.get(page)).status, 200);
      ann.via.localAddress = '127.0.8.7';
      assert.equal((await ann.get(page)).status, 403);
      assert.equal((await ann.get(page, { 'X-Forwarded-For': '127.0.9.7' })).status, 403);
    });
  }

  it('a connection to the proxies\' listener without a header is closed', async () => {
    await assert.rejects(via(ports.proxied, '/echo'));
    await logged((l) => l.event === 'connection.refused' && l.reason === 'proxy_protocol.missing');
  });

  it('nobody else may send such a header, whatever it says', async () => {
    const closed = await new Promise((resolve) => {
      const socket = net.connect({ port: ports.proxied, host: '127.0.0.1', localAddress: '127.0.9.9' }, () => {
        socket.write('PROXY TCP4 127.0.9.7 127.0.0.1 1 443\r\n');
      });
      socket.on('error', () => resolve(true)).on('close', () => resolve(true)).on('data', () => resolve(false));
    });
    assert.ok(closed);
    await logged((l) => l.reason === 'proxy_protocol.untrusted' && l.client === '127.0.9.9');
  });

  it('the plain listener serves nobody but the proxy, and that one only what came over TLS', async () => {
    for (const [localAddress, proto, status] of [['127.0.9.9', 'https', 301], ['127.0.0.1', 'http', 301], ['127.0.0.1', undefined, 301], ['127.0.0.1', 'https', 200]]) {
      const headers = { host: `open.test:${stage.gateway.port}`, ...(proto && { 'x-forwarded-proto': proto }) };
      const res = await request(`http://127.0.0.1:${ports.plain}/echo`, { localAddress, headers });
      assert.equal(res.status, status, `${localAddress} ${proto}`);
      if (status === 301) assert.equal(res.headers.location, stage.url('open.test', '/echo'));
      assert.equal('strict-transport-security' in res.headers, status === 200);
    }
  });

  it('one visitor has a number of connections, and others do not suffer', async () => {
    const sockets = [];
    const open = (from) => new Promise((resolve) => {
      const socket = net.connect({ port: stage.gateway.port, host: '127.0.0.1', localAddress: from });
      sockets.push(socket);
      socket.on('error', () => resolve('closed')).on('close', () => resolve('closed'));
      socket.on('connect', () => setTimeout(() => resolve('open'), 300));
    });
    const results = await Promise.all(Array.from({ length: 12 }, () => open('127.0.7.1')));
    assert.equal(results.filter((r) => r === 'open').length, 8);
    assert.equal((await echoed(stage.gateway.port, '127.0.7.2'))['x-forwarded-for'], '127.0.7.2');
    sockets.forEach((s) => s.destroy());
    await logged((l) => l.reason === 'connections.address');
    const refused = stage.gateway.lines().filter((l) => l.reason === 'connections.address');
    assert.ok(refused.length >= 1 && refused.length <= 2, `${refused.length} lines`); // one of each worker
  });
});
