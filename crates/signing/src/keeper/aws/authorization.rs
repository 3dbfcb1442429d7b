//! Signs requests in AWS's form: [Signature Version
//! 4](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html),
//! for POST requests to the root of a service.

use hmac::{Hmac, Mac};
use sha2::digest::Output;
use sha2::{Digest, Sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The sender of a request.
pub(super) struct Credentials {
    pub id: String,
    pub secret: String,
    /// The token of credentials that expire.
    pub session: Option<String>,
}

/// The scope in which a signature is valid.
pub(super) struct Scope<'a> {
    pub region: &'a str,
    pub service: &'a str,
    /// The time in the form of the header `x-amz-date`: `20150830T123600Z`.
    pub time: &'a str,
}

impl Scope<'_> {
    /// Returns the header `authorization`. `headers` are all other headers to sign, with names in
    /// lower case, sorted.
    pub(super) fn authorization(
        &self,
        credentials: &Credentials,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> String {
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{}\n", value.trim()))
            .collect();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let hash = format!("{:x}", Sha256::digest(body));
        let request = format!("POST\n/\n\n{lines}\n{names}\n{hash}");
        let day = self.time.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let hash = format!("{:x}", Sha256::digest(request));
        let message = format!("{ALGORITHM}\n{}\n{scope}\n{hash}", self.time);
        let mut key = format!("AWS4{}", credentials.secret).into_bytes();
        for part in [day, self.region, self.service, "aws4_request"] {
            key = authenticate(&key, part).to_vec();
        }
        let signature = format!("{:x}", authenticate(&key, &message));
        let id = &credentials.id;
        format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }
}

/// Returns the message authentication code of a text.
fn authenticate(key: &[u8], message: &str) -> Output<Sha256> {
    let mut code = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    code.update(message.as_bytes());
    code.finalize().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Scope};

    /// The request `post-vanilla` of AWS's own tests.
    #[test]
    fn a_request_has_the_signature_that_aws_says() {
        let credentials = Credentials {
            id: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session: None,
        };
        let scope = Scope {
            region: "us-east-1",
            service: "service",
            time: "20150830T123600Z",
        };
        let headers = [
            ("host", "example.amazonaws.com".to_owned()),
            ("x-amz-date", "20150830T123600Z".to_owned()),
        ];
        assert_eq!(
            scope.authorization(&credentials, &headers, b""),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
    }
}
