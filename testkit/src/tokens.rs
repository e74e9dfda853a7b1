//! Keys made by `openssl`, and tokens signed by PyJWT: neither shares code with rsp.

use std::{path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::program::{find_program, run};

const PATIENCE: Duration = Duration::from_secs(30);

/// Both halves of a key, as PEM.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// What signs.
    pub private: String,
    /// What everybody may have.
    pub public: String,
}

impl KeyPair {
    /// RSA of 2048 bits.
    #[track_caller]
    pub fn rsa() -> KeyPair {
        KeyPair::generate(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
    }

    /// EC on the curve P-256.
    #[track_caller]
    pub fn p256() -> KeyPair {
        KeyPair::generate(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    #[track_caller]
    fn generate(options: &[&str]) -> KeyPair {
        let openssl = |arguments: &[&str], input: &str| {
            let output = run(Command::new(find_program(&["openssl"])).args(arguments), input, PATIENCE);
            assert_eq!(output.code, Some(0), "{}", output.stderr);
            output.text()
        };
        let private = openssl(&[&["genpkey"], options].concat(), "");
        KeyPair { public: openssl(&["pkey", "-pubout"], &private), private }
    }

    /// The public half as a key of a JWKS.
    #[track_caller]
    pub fn jwk(&self, kid: &str) -> Value {
        let mut key: Value = serde_json::from_str(&python(JWK, &json!({ "key": self.public }))).expect("a key");
        key["kid"] = json!(kid);
        key
    }

    /// A token that it signs.
    #[track_caller]
    pub fn sign(&self, algorithm: &str, kid: Option<&str>, claims: &Value) -> String {
        sign(&self.private, algorithm, kid, claims)
    }
}

/// A token under a secret or a private key, by PyJWT.
#[track_caller]
pub fn sign(key: &str, algorithm: &str, kid: Option<&str>, claims: &Value) -> String {
    let headers = kid.map(|kid| json!({ "kid": kid }));
    python(SIGN, &json!({ "key": key, "algorithm": algorithm, "headers": headers, "claims": claims }))
}

const SIGN: &str = "import json, sys, jwt
o = json.load(sys.stdin)
sys.stdout.write(jwt.encode(o['claims'], o['key'], algorithm=o['algorithm'], headers=o['headers']))";

const JWK: &str = "import base64, json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
def word(n, size):
    return base64.urlsafe_b64encode(n.to_bytes(size, 'big')).rstrip(b'=').decode()
numbers = load_pem_public_key(json.load(sys.stdin)['key'].encode()).public_numbers()
if hasattr(numbers, 'n'):
    json.dump({'kty': 'RSA', 'n': word(numbers.n, 256), 'e': word(numbers.e, 3)}, sys.stdout)
else:
    json.dump({'kty': 'EC', 'crv': 'P-256', 'x': word(numbers.x, 32), 'y': word(numbers.y, 32)}, sys.stdout)";

/// Debian's own Python, which has Debian's modules; another one may stand before it on the PATH.
#[track_caller]
fn python(program: &str, input: &Value) -> String {
    let debians = Path::new("/usr/bin/python3");
    let python = if debians.exists() { debians.to_owned() } else { find_program(&["python3"]) };
    let output = run(Command::new(python).args(["-c", program]), input.to_string(), PATIENCE);
    assert_eq!(output.code, Some(0), "python3-jwt is missing? {}", output.stderr);
    output.text()
}
