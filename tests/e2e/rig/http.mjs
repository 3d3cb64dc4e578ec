// SPDX-License-Identifier: GPL-3.0-or-later
// HTTPS to names that exist only in these tests: every connection goes to 127.0.0.1, the name travels in SNI and Host. A Client is
// a small browser without a window: cookies by the rules that matter here, redirects, forms.
import http from 'node:http';
import https from 'node:https';
import tls from 'node:tls';

const TIMEOUT = 30000;

// One request, no cookies, no redirects. Header names keep their case; `raw` has the received fields in order. `connectPort`: by
// way of a proxy there; `localAddress`: from another address of 127.0.0.0/8.
export function request(url, { method = 'GET', headers = {}, body, agent = false, signal, onResponse, connectPort, localAddress } = {}) {
  const u = new URL(url);
  return new Promise((resolve, reject) => {
    const req = (u.protocol === 'http:' ? http : https).request({
      host: '127.0.0.1', port: connectPort ?? (u.port || 443), localAddress, servername: u.hostname, path: u.pathname + u.search, method, agent, signal, rejectUnauthorized: false,
      headers: { Host: u.host, ...headers },
    }, (res) => {
      if (onResponse) return resolve(onResponse(res));
      const parts = [];
      res.on('data', (d) => parts.push(d));
      res.on('error', reject);
      res.on('end', () => resolve({
        url, status: res.statusCode, headers: res.headers, raw: res.rawHeaders, bytes: Buffer.concat(parts),
        body: Buffer.concat(parts).toString(), setCookies: res.headers['set-cookie'] ?? [],
      }));
      return undefined;
    });
    req.setTimeout(TIMEOUT, () => req.destroy(new Error(`no answer from ${url} within ${TIMEOUT} ms`)));
    req.on('error', reject);
    if (body && typeof body.pipe === 'function') body.on('error', (e) => req.destroy(e)).pipe(req);
    else req.end(body);
  });
}

// Raw bytes over TLS; gives everything that came back until the other side closed, or `ms` passed.
export function rawTls(port, servername, bytes, { ms = 3000, ca } = {}) {
  return new Promise((resolve) => {
    let got = '';
    const s = tls.connect({ host: '127.0.0.1', port, servername, ca, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }, () => {
      for (const part of [].concat(bytes)) s.write(typeof part === 'string' ? Buffer.from(part, 'latin1') : part);
    });
    const timer = setTimeout(() => { s.destroy(); resolve({ text: got, closed: false }); }, ms);
    const end = () => { clearTimeout(timer); resolve({ text: got, closed: true }); };
    s.on('data', (d) => { got += d.toString('latin1'); });
    s.on('error', end);
    s.on('close', end);
  });
}

const entities = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
export const unescapeHtml = (s) => s.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (all, hex, dec, name) => {
  if (hex) return String.fromCodePoint(parseInt(hex, 16));
  if (dec) return String.fromCodePoint(Number(dec));
  return entities[name] ?? all;
});

const attributes = (tag) => Object.fromEntries([...tag.matchAll(/([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))/g)]
  .map((m) => [m[1].toLowerCase(), unescapeHtml(m[2] ?? m[3] ?? m[4])]));

// The forms of a page: action, method, fields.
export function forms(res) {
  return [...res.body.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, head, inner]) => {
    const a = attributes(head);
    const fields = {};
    for (const [tag] of inner.matchAll(/<(?:input|button)\b[^>]*>/gi)) {
      const f = attributes(tag);
      if (f.name && !(f.name in fields)) fields[f.name] = f.value ?? '';
    }
    return { action: new URL(a.action || res.url, res.url).href, method: (a.method ?? 'get').toUpperCase(), fields };
  });
}

export const links = (res) => [...res.body.matchAll(/<a\b([^>]*)>/gi)].map((m) => attributes(m[1]).href).filter(Boolean)
  .map((href) => new URL(href, res.url).href);

export const navigation = {
  Accept: 'text/html,application/xhtml+xml', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document', 'Sec-Fetch-Site': 'none',
  'User-Agent': 'sallyport-e2e',
};

export class Client {
  // `via`: { port, connectPort, localAddress } for requests to that port.
  constructor(via = {}) { Object.assign(this, { jar: new Map(), via }); }

  cookies(host) {
    if (!this.jar.has(host)) this.jar.set(host, new Map());
    return this.jar.get(host);
  }

  // A form that another site posts brings only cookies that say SameSite=None.
  cookieHeader(url, crossSitePost) {
    const u = new URL(url);
    return [...this.cookies(u.hostname)].filter(([, c]) => u.pathname.startsWith(c.path) && (!crossSitePost || c.sameSite === 'none'))
      .map(([n, c]) => `${n}=${c.value}`).join('; ');
  }

  keep(url, setCookies) {
    const jar = this.cookies(new URL(url).hostname);
    for (const line of setCookies) {
      const [pair, ...attrs] = line.split(/;\s*/);
      const eq = pair.indexOf('=');
      const name = pair.slice(0, eq);
      const get = (n) => attrs.find((a) => a.toLowerCase().startsWith(`${n}=`))?.slice(n.length + 1);
      const gone = get('max-age') !== undefined ? Number(get('max-age')) <= 0 : get('expires') && Date.parse(get('expires')) < Date.now();
      if (gone) jar.delete(name);
      else jar.set(name, { value: pair.slice(eq + 1), path: get('path') ?? '/', sameSite: get('samesite')?.toLowerCase(), line });
    }
  }

  async send(url, { headers = {}, ...options } = {}) {
    const crossSitePost = options.method === 'POST' && headers['Sec-Fetch-Site'] === 'cross-site';
    const cookie = [this.cookieHeader(url, crossSitePost), headers.Cookie].filter(Boolean).join('; ');
    const h = { ...navigation, ...headers };
    delete h.Cookie;
    if (cookie) h.Cookie = cookie;
    const { port, ...way } = this.via;
    const res = await request(url, { ...(new URL(url).port === String(port) && way), ...options, headers: h });
    this.keep(url, res.setCookies);
    return res;
  }

  get(url, headers) { return this.send(url, { headers }); }

  post(url, fields, headers = {}) {
    return this.send(url, {
      method: 'POST', body: new URLSearchParams(fields).toString(),
      headers: { 'Content-Type': 'application/x-www-form-urlencoded', Origin: new URL(url).origin, ...headers },
    });
  }

  submit(form, more = {}, headers) {
    const fields = { ...form.fields, ...more };
    if (form.method === 'POST') return this.post(form.action, fields, headers);
    const u = new URL(form.action);
    u.search = new URLSearchParams(fields);
    return this.get(u.href, headers);
  }

  // Follows redirects until an answer that is none, or until `stop(location)` says that this address is not to be opened: then the
  // answer with that redirect is returned, with `location` absolute.
  async follow(res, stop = () => false) {
    for (let i = 0; i < 20; i++) {
      if (![301, 302, 303, 307].includes(res.status)) return res;
      const location = new URL(res.headers.location, res.url).href;
      if (stop(location)) return { ...res, location };
      res = await this.get(location);
    }
    throw new Error(`too many redirects, last ${res.url}`);
  }

  async open(url, stop) { return this.follow(await this.get(url), stop); }
}
