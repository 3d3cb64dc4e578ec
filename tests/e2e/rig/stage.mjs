// SPDX-License-Identifier: GPL-3.0-or-later
// The whole set-up of a suite: certificates, identity providers, applications, the daemon in front of them.
import { writeFileSync } from 'node:fs';
import { startBackend } from './backend.mjs';
import { startBrowser } from './browser.mjs';
import { Gateway } from './gateway.mjs';
import { startNginxBackend } from './nginx.mjs';
import { startOidc } from './oidc.mjs';
import { startSimpleSaml } from './simplesaml.mjs';
import { makeCa, makeLeaf } from './tls.mjs';
import { World } from './world.mjs';

export const LOGIN = 'login.test';
export const CLIENT_SECRET = 'planted-client-secret-0123456789-0123456789';

const policies = {
  staff: [{ allow: { groups: ['staff'] } }],
  members: [{ allow: { groups: ['staff', 'guests'] } }],
};

const routesFor = (backend, nginx, providers, apps) => [
  { host: 'wiki.test', backends: [backend.url], policy: 'staff', ...apps },
  { host: 'blog.test', backends: [backend.url], policy: 'staff', ...apps },
  { host: 'members.test', backends: [backend.url], policy: 'members' },
  { host: 'open.test', backends: [backend.url], policy: 'public' },
  ...(nginx ? [{ host: 'nginx.test', backends: [nginx.url], policy: 'staff' }] : []),
  ...providers.map((key) => ({ host: `${key}.test`, backends: [backend.url], policy: 'members', providers: [key] })),
];

// `saml`: { key: options of startSimpleSaml + { provider: more keys of the provider's configuration, same: key of a provider
// whose server this one shares } }
// `oidc`: { key: { auth, alg, provider: more } }, all at one provider process
// `setup`: starts what `routes` and `config` need, before the gateway
// `apps`: more keys of the routes of wiki.test and blog.test
export class Stage {
  static async start(name, options = {}) {
    const stage = new Stage();
    stage.world = new World(name);
    try {
      await stage.build(options);
    } catch (e) {
      await stage.world.close();
      throw e;
    }
    return stage;
  }

  async build({ saml = {}, oidc = {}, oidcSetup = {}, nginx = false, apps = {}, routes = () => [], policies: morePolicies = {}, config = {}, setup = () => {}, idps = true, start = true }) {
    const { world } = this;
    this.ca = await makeCa(world);
    this.edge = await makeLeaf(world, this.ca, 'edge', ['login.test', 'wiki.test', 'members.test', 'pico.test', '*.test']);
    this.idpLeaf = await makeLeaf(world, this.ca, 'idp', ['localhost', '127.0.0.1']);
    this.backend = await startBackend(world);
    this.nginx = nginx && await startNginxBackend(world, this.backend.port);
    await setup(this);
    this.gateway = new Gateway(world, { port: await world.port(), opsPort: await world.port() });
    const identityProviders = {
      ...await this.buildSaml(saml, idps), ...await this.buildOidc(oidc, oidcSetup, idps),
    };
    this.providers = Object.keys(identityProviders);
    this.gateway.configure({
      site_name: 'Example Corp',
      login: { host: LOGIN },
      listen: [{ address: `127.0.0.1:${this.gateway.port}`, tls: { certificates: [{ cert: this.edge.cert, key: this.edge.key }] } }],
      identity_providers: identityProviders,
      routes: [...routesFor(this.backend, this.nginx, this.providers, apps), ...routes(this)],
      policies: { ...policies, ...morePolicies },
      ...(typeof config === 'function' ? await config(this) : config),
    });
    // As an operator does: our metadata from the command line, to the SAML providers, before anything runs.
    if (Object.keys(this.saml).length) {
      const cli = await this.gateway.cli('metadata', '--config', this.gateway.configFile);
      if (cli.code !== 0) throw new Error(`sallyport metadata: ${cli.stderr}`);
      writeFileSync(this.spFile, cli.stdout);
    }
    if (start) {
      await this.gateway.start();
      if (idps) await this.providersReady();
    }
  }

  async buildSaml(saml, start) {
    this.saml = {};
    this.spFile = this.world.path('sp.xml');
    const configured = {};
    for (const [key, { provider = {}, same, ...options }] of Object.entries(saml)) {
      this.saml[key] = this.saml[same] ?? await startSimpleSaml(this.world, this.idpLeaf, { name: key, spFiles: [this.spFile], ...options });
      if (!start && !same) await this.saml[key].stop();
      configured[key] = { protocol: 'saml', label: `Corporate login ${key}`, metadata: this.saml[key].metadataUrl, ca: this.ca.cert, ...provider };
    }
    return configured;
  }

  async buildOidc(oidc, setup, start) {
    const keys = Object.keys(oidc);
    if (!keys.length) return {};
    const secretFile = this.world.path('client-secret');
    writeFileSync(secretFile, `${CLIENT_SECRET}\n`, { mode: 0o600 });
    this.oidc = await startOidc(this.world, this.idpLeaf, { start: false, ...setup });
    this.oidc.setClients(keys.map((key) => ({ id: `client-${key}`, secret: CLIENT_SECRET, callback: this.callback(key), ...oidc[key] })));
    if (start) await this.oidc.start();
    return Object.fromEntries(keys.map((key) => [key, {
      protocol: 'oidc', label: `OpenID ${key}`, issuer: this.oidc.issuer, client_id: `client-${key}`, client_secret: { file: secretFile },
      scopes: ['openid', 'email', 'profile', 'groups'], ca: this.ca.cert,
      ...(oidc[key].auth && { token_auth: oidc[key].auth }), ...(oidc[key].alg && { algorithms: [oidc[key].alg] }), ...oidc[key].provider,
    }]));
  }

  async providersReady() {
    for (const key of this.providers) await this.gateway.loginsWork(key);
  }

  callback(key) { return this.url(LOGIN, `/.sallyport/oidc/${key}/callback`); }
  acs(key) { return this.url(LOGIN, `/.sallyport/saml/${key}/acs`); }
  url(host, path = '/') { return this.gateway.url(host, path); }

  async browser() {
    this.chromium ??= await startBrowser(this.world);
    return this.chromium;
  }

  // Ends everything, and only then says what was wrong with the daemon.
  async close() {
    const problems = [];
    try { await this.gateway.stop(); } catch (e) { problems.push(e.message); }
    problems.push(...this.gateway.findings());
    await this.world.close();
    if (problems.length) throw new Error(problems.join('\n'));
  }
}
