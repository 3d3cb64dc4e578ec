// SPDX-License-Identifier: GPL-3.0-or-later
// Starts, stops and configures the OpenID provider (oidc_server.mjs).
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const SERVER = fileURLToPath(new URL('./oidc_server.mjs', import.meta.url));

export const oidcUsers = {
  ann: { password: 'ann-pw', claims: { email: 'ann@example.com', email_verified: true, name: 'Ann Archer', preferred_username: 'ann', groups: ['staff', 'admins'] } },
  bob: { password: 'bob-pw', claims: { email: 'bob@example.org', email_verified: true, name: 'Bob Böhm', preferred_username: 'bob', groups: 'guests' } },
  carl: { password: 'carl-pw', claims: { email: 'carl@example.com', email_verified: false, name: 'Carl', preferred_username: 'carl', groups: ['staff'] } },
  dora: { password: 'dora-pw', claims: { email: 'dora@example.com', email_verified: true, name: 'Dora', preferred_username: 'dora' } },
};

const jwk = (type, options, alg, kid) => {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', ...(alg && { alg }) };
};

export const makeJwks = () => [
  jwk('rsa', { modulusLength: 2048 }, undefined, 'rsa-1'),
  jwk('ec', { namedCurve: 'P-256' }, undefined, 'p256-1'),
  jwk('ec', { namedCurve: 'P-384' }, undefined, 'p384-1'),
  jwk('ec', { namedCurve: 'P-521' }, undefined, 'p521-1'),
  jwk('ed25519', {}, undefined, 'ed-1'),
];

// clients: [{ id, secret, auth, alg, callback, postLogout }]
export async function startOidc(world, leaf, { clients = [], name = 'oidc', port, start = true, ...more } = {}) {
  const tlsPort = port ?? await world.port();
  const issuer = `https://localhost:${tlsPort}`;
  const setup = { port: tlsPort, cert: leaf.cert, key: leaf.key, issuer, users: oidcUsers, jwks: makeJwks(), clients: [], ...more };
  const file = world.path(`${name}.json`);
  const op = {
    issuer, port: tlsPort, setup,
    setClients(list) {
      setup.clients = list.map((c) => ({
        client_id: c.id, client_secret: c.secret, redirect_uris: [c.callback], response_types: ['code'],
        grant_types: ['authorization_code'], token_endpoint_auth_method: c.auth ?? 'client_secret_basic',
        id_token_signed_response_alg: c.alg ?? 'RS256', post_logout_redirect_uris: c.postLogout ? [c.postLogout] : [],
      }));
    },
    async start() {
      writeFileSync(file, JSON.stringify(setup));
      op.process = await world.start(name, process.execPath, ['--no-warnings', SERVER, file], { port: tlsPort });
    },
    stop: () => op.process.stop(),
    async restart() { await op.stop(); await op.start(); },
  };
  op.setClients(clients);
  if (start) await op.start();
  return op;
}
