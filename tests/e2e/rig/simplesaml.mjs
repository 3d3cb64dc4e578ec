// SPDX-License-Identifier: GPL-3.0-or-later
// SimpleSAMLphp as Debian packages it, as a SAML 2.0 identity provider: PHP's own server behind nginx's TLS.
import { writeFileSync } from 'node:fs';
import { request } from './http.mjs';
import { startNginx } from './nginx.mjs';
import { makeSigningPair } from './tls.mjs';

const WWW = '/usr/share/simplesamlphp/www';

export const samlUsers = {
  ann: { password: 'ann-pw', uid: ['ann'], mail: ['ann@example.com'], displayName: ['Ann Archer'], eduPersonAffiliation: ['staff', 'admins'], department: ['it'] },
  bob: { password: 'bob-pw', uid: ['bob'], mail: ['bob@example.org'], displayName: ['Bob Böhm'], eduPersonAffiliation: ['guests'] },
  eve: { password: 'eve-pw', uid: ['eve'], mail: ['eve@evil.test@example.com'], displayName: ['Eve <script>alert(1)</script>'], eduPersonAffiliation: ['staff'] },
};

const php = (value) => {
  if (Array.isArray(value)) return `[${value.map(php).join(', ')}]`;
  if (value && typeof value === 'object') return `[${Object.entries(value).map(([k, v]) => `${php(k)} => ${php(v)}`).join(', ')}]`;
  if (typeof value === 'string') return `'${value.replace(/[\\']/g, '\\$&')}'`;
  return String(value);
};
const phpFile = (name, value) => `<?php\n$${name} = ${php(value)};\n`;

function writeConfig(dir, base, spFiles) {
  writeFileSync(`${dir}/config.php`, phpFile('config', {
    baseurlpath: `${base}/`,
    certdir: `${dir}/`,
    loggingdir: `${dir}/`,
    datadir: `${dir}/data/`,
    tempdir: `${dir}/tmp`,
    metadatadir: `${dir}/metadata/`,
    attributenamemapdir: '/etc/simplesamlphp/attributemap/',
    technicalcontact_name: 'Test', technicalcontact_email: 'na@example.org', timezone: 'UTC',
    secretsalt: 'only-for-this-test-0123456789', 'auth.adminpassword': 'admin-pw',
    'enable.saml20-idp': true, 'module.enable': { exampleauth: true, core: true, saml: true },
    debug: { saml: false, backtraces: true, validatexml: false }, showerrors: true, errorreporting: false,
    'logging.level': 6, 'logging.handler': 'errorlog', 'statistics.out': [],
    'session.cookie.name': 'SimpleSAMLSessionID', 'session.cookie.path': '/', 'session.cookie.secure': true, 'session.cookie.samesite': 'None',
    'session.phpsession.cookiename': 'SimpleSAML', 'session.phpsession.httponly': true,
    'session.authtoken.cookiename': 'SimpleSAMLAuthToken',
    'language.available': ['en'], 'language.default': 'en', 'language.rtl': [], 'theme.use': 'default',
    'store.type': 'sql', 'store.sql.dsn': `sqlite:${dir}/store.sqlite`,
    'metadata.sources': [{ type: 'flatfile' }, ...spFiles.map((file) => ({ type: 'xml', file }))],
  }));
  writeFileSync(`${dir}/authsources.php`, phpFile('config', {
    'example-userpass': {
      0: 'exampleauth:UserPass',
      ...Object.fromEntries(Object.entries(samlUsers).map(([name, { password, ...attributes }]) => [`${name}:${password}`, attributes])),
    },
  }));
}

function writeHosted(dir, options) {
  const hosted = {
    '__DYNAMIC:1__': {
      host: '__DEFAULT__', auth: 'example-userpass', privatekey: 'idp.pem', certificate: 'idp.crt',
      'signature.algorithm': 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
      'saml20.sign.response': true, 'saml20.sign.assertion': true, sharedkey_algorithm: 'http://www.w3.org/2009/xmlenc11#aes256-gcm',
      NameIDFormat: ['urn:oasis:names:tc:SAML:2.0:nameid-format:persistent', 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient'],
      'userid.attribute': 'uid',
      authproc: { 1: { class: 'saml:PersistentNameID', attribute: 'uid' }, 2: { class: 'saml:TransientNameID' } },
      ...options,
    },
  };
  writeFileSync(`${dir}/metadata/saml20-idp-hosted.php`, phpFile('metadata', hosted));
}

// PHP's own server finds no script behind PATH_INFO with dots in it; this does.
const router = `<?php
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$path = preg_replace('#^/simplesaml#', '', $path);
$root = '${WWW}';
if (preg_match('#^(/[^?]*?\\.php)(/.*)?$#', $path, $m) && is_file($root . $m[1])) {
    $_SERVER['SCRIPT_NAME'] = '/simplesaml' . $m[1];
    $_SERVER['PHP_SELF'] = '/simplesaml' . $m[1] . ($m[2] ?? '');
    $_SERVER['SCRIPT_FILENAME'] = $root . $m[1];
    if (isset($m[2])) { $_SERVER['PATH_INFO'] = $m[2]; } else { unset($_SERVER['PATH_INFO']); }
    $_SERVER['HTTPS'] = 'on';
    chdir(dirname($root . $m[1]));
    require $root . $m[1];
    return;
}
http_response_code(404);
`;

// options: saml20-idp-hosted settings to change; spFiles: XML files of SP metadata (may be written later, but before use).
export async function startSimpleSaml(world, leaf, { options = {}, spFiles = [], name = 'saml', port } = {}) {
  const dir = world.mkdir(`simplesaml-${name}`);
  for (const sub of ['metadata', 'data', 'tmp']) world.mkdir(`simplesaml-${name}/${sub}`);
  await makeSigningPair(world, dir, 'idp');
  const phpPort = await world.port();
  const tlsPort = port ?? await world.port();
  const base = `https://localhost:${tlsPort}/simplesaml`;
  writeConfig(dir, base, spFiles);
  writeHosted(dir, options);
  writeFileSync(`${dir}/router.php`, router);
  const idp = {
    base, port: tlsPort, dir, entityId: `${base}/saml2/idp/metadata.php`, metadataUrl: `${base}/saml2/idp/metadata.php`,
    configure: (more) => writeHosted(dir, { ...options, ...more }),
    async start() {
      idp.processes = [
        await world.start(`php-${name}`, 'php', ['-d', 'opcache.enable=0', '-d', 'display_errors=0', '-S', `127.0.0.1:${phpPort}`, '-t', WWW, `${dir}/router.php`], {
          port: phpPort, cwd: dir, killGroup: true,
          env: { PATH: process.env.PATH, SIMPLESAMLPHP_CONFIG_DIR: dir, PHP_CLI_SERVER_WORKERS: '3' },
        }),
        await startNginx(world, name, `
  server {
    listen 127.0.0.1:${tlsPort} ssl;
    ssl_certificate ${leaf.cert}; ssl_certificate_key ${leaf.key};
    location /simplesaml/resources/ { alias ${WWW}/resources/; types { text/css css; text/javascript js; image/png png; } }
    location / { proxy_pass http://127.0.0.1:${phpPort}; proxy_set_header Host localhost:${tlsPort}; }
  }`, tlsPort),
      ];
    },
    async stop() { for (const p of [...idp.processes].reverse()) await p.stop(); },
    async metadata() { return (await request(idp.metadataUrl)).body; },
  };
  await idp.start();
  return idp;
}
