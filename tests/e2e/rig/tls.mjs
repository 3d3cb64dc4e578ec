// SPDX-License-Identifier: GPL-3.0-or-later
// A certificate authority of the suite's own, made with openssl, and leaf certificates from it.
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

export async function makeCa(world, name = 'pki') {
  const dir = world.mkdir(name);
  const cert = `${dir}/ca.pem`;
  const key = `${dir}/ca.key`;
  await world.must('openssl', ['req', '-x509', ...KEY, '-keyout', key, '-out', cert, '-days', '30',
    '-subj', '/CN=Sallyport test CA', '-addext', 'keyUsage=critical,keyCertSign,cRLSign']);
  return { dir, cert, key, pem: readFileSync(cert, 'utf8') };
}

// A server certificate for the names (IP addresses too).
export async function makeLeaf(world, ca, name, names, usage = 'serverAuth') {
  const base = `${ca.dir}/${name}`;
  const alt = names.map((n) => (/^[\d.]+$/.test(n) ? `IP:${n}` : `DNS:${n}`)).join(',');
  writeFileSync(`${base}.ext`, `subjectAltName=${alt}\nextendedKeyUsage=${usage}\nbasicConstraints=CA:FALSE\n`);
  await world.must('openssl', ['req', ...KEY, '-keyout', `${base}.key`, '-out', `${base}.csr`, '-subj', `/CN=${names[0]}`]);
  await world.must('openssl', ['x509', '-req', '-in', `${base}.csr`, '-CA', ca.cert, '-CAkey', ca.key, '-CAcreateserial',
    '-days', '20', '-extfile', `${base}.ext`, '-out', `${base}.pem`]);
  chmodSync(`${base}.key`, 0o600);
  return { cert: `${base}.pem`, key: `${base}.key` };
}

export const makeClientPair = (world, ca, name) => makeLeaf(world, ca, name, [name], 'clientAuth');

// A self-signed RSA key pair, as SAML identity providers sign with.
export async function makeSigningPair(world, dir, name) {
  const cert = `${dir}/${name}.crt`;
  const key = `${dir}/${name}.pem`;
  await world.must('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert,
    '-days', '30', '-subj', `/CN=${name}`]);
  return { cert, key };
}
