// SPDX-License-Identifier: GPL-3.0-or-later
// An OpenID provider: node oidc-provider with its own login page switched for one that takes our users. Run as
// `node oidc_server.mjs SETUP.json`; setup: { port, cert, key, issuer, clients, jwks, users, conformIdTokenClaims, reportTokens, extra }.
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { Provider } from 'oidc-provider';

const setup = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const account = (id) => setup.users[id] && {
  accountId: id,
  claims: () => ({ sub: `sub-${id}`, ...setup.users[id].claims }),
};

const provider = new Provider(setup.issuer, {
  clients: setup.clients,
  jwks: { keys: setup.jwks },
  cookies: { keys: ['only-for-this-test'], long: { sameSite: 'lax' }, short: { sameSite: 'lax' } },
  claims: {
    openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'], groups: ['groups'],
  },
  scopes: ['openid', 'email', 'profile', 'groups', 'offline_access'],
  conformIdTokenClaims: setup.conformIdTokenClaims ?? false, // false: scope claims are in the ID token too
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] },
  features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: true } },
  pkce: { required: () => true, methods: ['S256'] },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (ctx, id) => account(id),
  ttl: { AccessToken: 300, AuthorizationCode: 60, IdToken: 300, Interaction: 600, Session: 3600, Grant: 3600 },
  // Consent is given for everything: these clients are the house's own.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid email profile groups');
    await grant.save();
    return grant;
  },
  renderError: (ctx, out) => { ctx.type = 'text'; ctx.body = `provider error: ${JSON.stringify(out)}`; },
  ...setup.extra,
});
provider.on('server_error', (ctx, err) => console.error('server_error', err));
for (const event of ['authorization.error', 'grant.error', 'userinfo.error', 'discovery.error', 'jwks.error']) {
  provider.on(event, (ctx, err) => console.error(event, err.message, err.error_detail ?? err.error_description ?? ''));
}

// For the search of logs: what the token endpoint received and gave.
if (setup.reportTokens) {
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.path !== '/token') return;
    const { code, code_verifier } = ctx.oidc?.params ?? {};
    const { id_token, access_token } = ctx.body ?? {};
    console.log(`TOKENS ${JSON.stringify({ code, code_verifier, id_token, access_token })}`);
  });
}

const loginPage = (uid, note) => `<!doctype html><meta charset="utf-8"><title>OpenID provider</title>
<form method="post" action="/interaction/${uid}"><p>${note}</p>
<label>Name <input name="login" autofocus></label> <label>Password <input type="password" name="password"></label>
<button type="submit">Sign in</button></form>
<form method="post" action="/interaction/${uid}/abort"><button type="submit" id="abort">No, thanks</button></form>`;

async function fields(req) {
  let body = '';
  for await (const part of req) body += part;
  return Object.fromEntries(new URLSearchParams(body));
}

async function interaction(req, res) {
  const details = await provider.interactionDetails(req, res);
  if (req.url.endsWith('/abort')) {
    return provider.interactionFinished(req, res, { error: 'access_denied', error_description: 'the user said no' });
  }
  const show = (note) => { res.setHeader('content-type', 'text/html'); res.end(loginPage(details.uid, note)); };
  if (req.method !== 'POST') return show('');
  const { login, password } = await fields(req);
  if (setup.users[login]?.password !== password) return show('Wrong name or password');
  return provider.interactionFinished(req, res, { login: { accountId: login } }, { mergeWithLastSubmission: false });
}

const callback = provider.callback();
https.createServer({ cert: readFileSync(setup.cert), key: readFileSync(setup.key) }, (req, res) => {
  console.log(req.method, req.url.split('?')[0], req.headers.authorization ? 'with Authorization' : '');
  if (!req.url.startsWith('/interaction/')) return callback(req, res);
  return interaction(req, res).catch((e) => { console.error(e); res.statusCode = 400; res.end(String(e.message)); });
}).listen(setup.port, '127.0.0.1', () => console.log('listening'));
