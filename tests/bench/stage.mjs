// SPDX-License-Identifier: GPL-3.0-or-later
// Everything that the sections measure, started when a section first asks for it.
import { execFile } from 'node:child_process';
import { truncateSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { startOidc } from '../e2e/rig/oidc.mjs';
import { startSimpleSaml } from '../e2e/rig/simplesaml.mjs';
import { makeCa, makeLeaf } from '../e2e/rig/tls.mjs';
import { startBackend } from './backend.mjs';
import { check, logIn } from './login.mjs';
import { progress } from './report.mjs';
import * as systems from './systems.mjs';
import { BenchWorld } from './world.mjs';

const once = (f) => {
  let result;
  return () => (result ??= f());
};

export class Stage {
  static async start({ build }) {
    const stage = new Stage();
    stage.tools = path.join(build, 'tests/bench');
    stage.sallyportBinary = path.join(build, 'sallyport');
    stage.world = new BenchWorld('run');
    try {
      await stage.prepare();
    } catch (e) {
      await stage.close();
      throw e;
    }
    return stage;
  }

  async prepare() {
    const { world } = this;
    progress('starting the application and the identity providers');
    this.ca = await makeCa(world);
    this.edge = await makeLeaf(world, this.ca, 'edge', ['app.test', '*.test', 'localhost']);
    this.idpLeaf = await makeLeaf(world, this.ca, 'idp', ['localhost', '127.0.0.1']);
    this.backend = await startBackend(world, this.tools);
    this.ports = { openidc: await world.port(), sallyport: await world.port(), many: await world.port(), boards: await world.port() };
    this.oidc = await startOidc(world, this.idpLeaf, {
      port: await world.port(),
      clients: [systems.openidcClient(this.ports.openidc), ...['sallyport', 'many', 'boards'].map((key) => systems.sallyportClient(key, this.ports[key]))],
    });
    this.parts = { edge: this.edge, backend: this.backend, oidc: this.oidc, ca: this.ca, sallyport: this.sallyportBinary };
  }

  async ready(system) {
    system.emptyLogs = () => { for (const file of [system.service.logFile, system.accessLog]) if (file) truncateSync(file, 0); };
    await logIn(system, this.backend.small);
    progress(`${system.label} is up${system.login ? ', ann is logged in' : ''}`);
    return system;
  }

  nginx = once(async () => this.ready(await systems.startNginx(this.world, this.parts)));
  nginxLog = once(async () => this.ready(await systems.startNginx(this.world, { ...this.parts, log: true })));
  openidc = once(async () => this.ready(await systems.startOpenidc(this.world, { ...this.parts, port: this.ports.openidc })));
  mellon = once(async () => {
    const spFile = this.world.path('mellon-sp.xml');
    const saml = await startSimpleSaml(this.world, this.idpLeaf, { spFiles: [spFile], port: await this.world.port() });
    return this.ready(await systems.startMellon(this.world, { ...this.parts, saml, spFile }));
  });

  sallyport = once(async () => this.ready(await systems.startSallyport(this.world, { ...this.parts, port: this.ports.sallyport })));
  // Another one, whose store the caller fills.
  many = once(async () => this.ready(await systems.startSallyport(this.world, { ...this.parts, key: 'many', label: 'Sallyport, many sessions', port: this.ports.many })));
  // Another one, with boards.
  boards = once(async () => this.ready(await systems.startSallyport(this.world, { ...this.parts, key: 'boards', label: 'Sallyport, boards', port: this.ports.boards, boards: '/boards' })));

  check(system) { return check(system, this.backend.small); }

  // What a client of OpenSSL's defaults and the server agree on, and the protocol: { tls, alpn }.
  async negotiated(system, alpn) {
    const { stdout } = await promisify(execFile)(path.join(this.tools, 'bench-tls-client'), ['info', String(system.port), system.host, alpn])
      .catch(() => ({ stdout: '|' })); // no protocol in common
    const [tls, chosen] = stdout.trim().split('|');
    return { tls, alpn: chosen };
  }

  async hasH2(system) { return (await this.negotiated(system, 'h2')).alpn === 'h2'; }

  // Comparisons with different ciphers or keys would be none.
  async sameTls(list) {
    const seen = new Map();
    for (const s of list) seen.set(s.label, (await this.negotiated(s, 'http/1.1')).tls);
    const all = new Set(seen.values());
    if (all.size !== 1) throw new Error(`the systems do not speak the same TLS: ${JSON.stringify([...seen])}`);
    return [...all][0];
  }

  close() { return this.world.close(); }
}
