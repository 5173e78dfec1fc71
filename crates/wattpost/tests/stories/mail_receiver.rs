//! An SMTP server with STARTTLS that refuses each password, and repeats it in its answer: the worst that one can do with it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use rcgen::CertifiedKey;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A client that is silent for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// It listens on 127.0.0.1 until the program of the tests ends.
pub(crate) struct MailReceiver {
    pub(crate) port: u16,
    /// The authority that a client must know. Its certificate is for `localhost`.
    pub(crate) ca_file: PathBuf,
}

impl MailReceiver {
    /// `dir` gets the file of the authority.
    pub(crate) fn start(dir: &Path) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let ca_file = dir.join("mail-ca.pem");
        std::fs::write(&ca_file, cert.pem()).expect("write the certificate");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a server of TLS");
        let tls = Arc::new(tls);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                // A client that leaves early is not asked again.
                let _ = serve(socket, &tls);
            }
        });
        Self { port, ca_file }
    }
}

fn serve(mut socket: TcpStream, tls: &Arc<ServerConfig>) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(b"220 localhost ESMTP\r\n")?;
    loop {
        // Byte by byte, because what follows STARTTLS is no line.
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte)?;
            line.extend(byte);
        }
        match line.get(..4) {
            Some(b"EHLO") => socket.write_all(b"250-localhost\r\n250 STARTTLS\r\n")?,
            Some(b"STAR") => break,
            _ => socket.write_all(b"530 Must issue a STARTTLS command first\r\n")?,
        }
    }
    socket.write_all(b"220 Ready\r\n")?;
    let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, socket));
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let answer = match line.trim_end().split_once(' ') {
            Some(("EHLO", _)) => "250-localhost\r\n250 AUTH PLAIN\r\n".to_owned(),
            Some(("AUTH", credentials)) => {
                let encoded = credentials.trim_start_matches("PLAIN ");
                let plain = BASE64.decode(encoded).unwrap_or_default();
                let plain = String::from_utf8_lossy(&plain).replace('\0', " ");
                let password = plain.rsplit(' ').next().unwrap_or_default();
                let again = BASE64.encode(password);
                format!("535 5.7.8 wrong: {encoded} is{plain}, {again}\r\n")
            }
            _ if line.starts_with("QUIT") => "221 Bye\r\n".to_owned(),
            _ => "530 5.7.0 Authentication required\r\n".to_owned(),
        };
        stream.get_mut().write_all(answer.as_bytes())?;
    }
}
