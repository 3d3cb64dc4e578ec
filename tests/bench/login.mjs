// SPDX-License-Identifier: GPL-3.0-or-later
// Logs ann in to any of the systems, as a browser would, and proves that what is measured afterwards is an answer for her.
import { Client, forms, request } from '../e2e/rig/http.mjs';

const STEPS = 12;

const describe = (res) => `${res.status} at ${res.url}: ${res.body.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ').slice(0, 300)}`;

// The next step of a login from the page that we are at.
function nextStep(client, res) {
  const form = forms(res).find((f) => 'SAMLResponse' in f.fields || 'login' in f.fields || 'username' in f.fields);
  if (!form) return undefined;
  if ('SAMLResponse' in form.fields) return client.submit(form, {}, { 'Sec-Fetch-Site': 'cross-site', Origin: 'null' });
  return client.submit(form, { ['login' in form.fields ? 'login' : 'username']: 'ann', password: 'ann-pw' });
}

// Sets system.cookie. `wanted` is what /1k has to be.
export async function logIn(system, wanted) {
  const url = `https://${system.host}:${system.port}/1k`;
  if (!system.login) return check(system, wanted);
  const client = new Client();
  let res = await client.open(url);
  if (res.status === 200 && res.body === wanted) throw new Error(`${system.label} answers without a login`);
  for (let i = 0; i < STEPS && !(res.status === 200 && res.body === wanted); i++) {
    const next = nextStep(client, res);
    if (!next) throw new Error(`the login to ${system.label} stops with ${describe(res)}\n${system.service.output.slice(-1500)}`);
    res = await client.follow(await next);
  }
  system.cookie = client.cookieHeader(url);
  return check(system, wanted);
}

// With the cookie: the application's 200 for ann. Without: no 200.
export async function check(system, wanted) {
  const url = `https://${system.host}:${system.port}/1k`;
  const with_ = await request(url, { headers: system.cookie ? { Cookie: system.cookie } : {} });
  if (with_.status !== 200 || with_.body !== wanted) throw new Error(`${system.label} does not give the application's answer: ${describe(with_)}`);
  if (!system.login) return;
  const without = await request(url);
  if (without.status < 300 || without.status === 403) throw new Error(`${system.label} asks nobody to log in: ${describe(without)}`);
}
