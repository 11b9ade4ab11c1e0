import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

/** The key and the certificate of a server on this machine, as PEM. */
export interface Certificate {
  readonly key: string;
  readonly certificate: string;
}

// The tags of ASN.1, as far as a certificate needs them.
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_ID = 0x06;
const UTF8_STRING = 0x0c;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
const SET = 0x31;
/** Explicitly tagged fields of a certificate, and the kinds of names in it. */
const FIELD = 0xa0;
const NAME_DNS = 0x82;
const NAME_ADDRESS = 0x87;

const LOOPBACK_BYTES = Buffer.from([127, 0, 0, 1]);
const ECDSA_WITH_SHA256 = '2a8648ce3d040302';
const COMMON_NAME = '550403';
const SUBJECT_ALT_NAME = '551d11';

/** A certificate for `localhost` and 127.0.0.1 that its own key has signed. Node.js can read certificates, but cannot make any. */
export function selfSigned(): Certificate {
  const { privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256', privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  const algorithm = der(SEQUENCE, der(OBJECT_ID, Buffer.from(ECDSA_WITH_SHA256, 'hex')));
  const name = der(SEQUENCE, der(SET, der(SEQUENCE, der(OBJECT_ID, Buffer.from(COMMON_NAME, 'hex')), der(UTF8_STRING, Buffer.from('localhost')))));
  const time = (text: string) => der(GENERALIZED_TIME, Buffer.from(text));
  const alternativeNames = der(SEQUENCE, der(NAME_DNS, Buffer.from('localhost')), der(NAME_ADDRESS, LOOPBACK_BYTES));
  const extension = der(SEQUENCE, der(OBJECT_ID, Buffer.from(SUBJECT_ALT_NAME, 'hex')), der(OCTET_STRING, alternativeNames));
  const content = der(SEQUENCE,
    der(FIELD, der(INTEGER, Buffer.from([2]))),
    // A positive number: its first bit is not set.
    der(INTEGER, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    name,
    der(SEQUENCE, time('20200101000000Z'), time('20991231235959Z')),
    name,
    publicKey,
    der(FIELD + 3, der(SEQUENCE, extension)),
  );
  const signature = sign('sha256', content, createPrivateKey(privateKey));
  const certificate = der(SEQUENCE, content, algorithm, der(BIT_STRING, Buffer.from([0]), signature));
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return { key: privateKey, certificate: ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n') };
}

/** A value of ASN.1 in its distinguished encoding. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
