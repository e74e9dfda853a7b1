//! PHP as it is in the field: Debian's php-fpm, beside nginx where the two should agree.

use std::{collections::BTreeMap, time::Duration};

use testkit::{End, Nginx, Pattern, PhpFpm, Rsp, curl};

use super::{SOON, front};

/// rsp before the scripts of `php`; `options` are the handler's.
#[track_caller]
fn before(php: &PhpFpm, options: &str) -> Rsp {
    let root = php.root().display();
    front("", &format!("fastcgi {{ \"{}\", root = \"{root}\", {options} }}", php.address())).start()
}

#[test]
fn a_page_is_served_over_tcp_and_over_a_unix_socket() {
    for php in [PhpFpm::start_tcp(2), PhpFpm::start_unix(2)] {
        php.write("index.php", "<?php setcookie('a', 'b'); http_response_code(203); echo 'Hello ', 6 * 7;");
        php.write("go.php", "<?php header('Location: /elsewhere');");
        let rsp = before(&php, "");
        let answer = rsp.client().get("/");
        assert_eq!((answer.status, answer.text().as_str(), answer.end), (203, "Hello 42", End::Framed));
        assert_eq!(answer.header("set-cookie"), Some("a=b"));
        let moved = rsp.client().get("/go.php");
        assert_eq!((moved.status, moved.header("location")), (302, Some("/elsewhere")));
        assert_eq!(rsp.client().request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").status, 203);
    }
}

/// `$_SERVER` as the script got it.
fn seen(text: &str) -> BTreeMap<String, serde_json::Value> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn php_sees_of_a_request_what_it_sees_behind_nginx() {
    let php = PhpFpm::start_unix(2);
    php.write("dir/show.php", "<?php echo json_encode($_SERVER);");
    let nginx = Nginx::start(&format!(
        "server {{ listen 127.0.0.1:$PORT; server_name example.com; root {}; location / {{ \
         fastcgi_split_path_info ^(.+?\\.php)(/.*)$; include /etc/nginx/fastcgi.conf; \
         fastcgi_param PATH_INFO $fastcgi_path_info; fastcgi_pass {}; }} }}",
        php.root().display(),
        php.address()
    ));
    let rsp = before(&php, "");
    for (arguments, only_nginx) in [
        (&["-A", "agent", "-H", "Cookie: a=1; b=2", "-H", "X-Own: %20 x"][..], &["CONTENT_LENGTH", "CONTENT_TYPE"][..]),
        (&["-d", "a=b", "-H", "Authorization: Bearer x"], &["HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"]),
        (&["-X", "DELETE", "-H", "Referer: http://a/?b"], &["CONTENT_LENGTH", "CONTENT_TYPE"]),
    ] {
        let ask = |address: &str| {
            let url = format!("http://{address}/dir/show.php/in%20fo/x?q=1&r=%2f");
            let output = curl(&[arguments, &["-H", "Host: example.com", &url]].concat());
            assert_eq!(output.code, Some(0), "{}", output.stderr);
            seen(&output.text())
        };
        let (mut ours, mut theirs) = (ask(&rsp.address()), ask(&nginx.address()));
        let ports = ["REMOTE_PORT", "SERVER_PORT"];
        assert!(ports.iter().all(|name| ours.contains_key(*name) && theirs.contains_key(*name)));
        assert_eq!(ours["SERVER_PORT"], rsp.port().to_string());
        // Debian's nginx tells an empty one.
        assert_eq!(theirs.remove("REMOTE_USER"), Some("".into()));
        // What differs by nature, and what RFC 3875 has otherwise than nginx (§4.1.2, §4.1.6, §4.1.18).
        let own = ["SERVER_SOFTWARE", "REQUEST_TIME", "REQUEST_TIME_FLOAT", "PATH_TRANSLATED"];
        for name in own.iter().chain(&ports) {
            ours.remove(*name);
            theirs.remove(*name);
        }
        for name in only_nginx {
            assert!(theirs.remove(*name).is_some(), "{name}: {theirs:?}");
        }
        assert_eq!(ours, theirs);
    }
}

#[test]
fn an_upload_arrives_whole_and_is_never_gathered() {
    const LENGTH: u64 = 64 << 20;
    let php = PhpFpm::start_unix(1);
    php.write(
        "sum.php",
        "<?php $h = hash_init('sha256'); $in = fopen('php://input', 'rb'); $n = 0; \
         while (($s = fread($in, 65536)) !== false && $s !== '') { hash_update($h, $s); $n += strlen($s); } \
         echo $n, ' ', hash_final($h);",
    );
    let rsp = before(&php, "");
    let file = rsp.folder().join("upload");
    std::fs::write(&file, Pattern::bytes(usize::try_from(LENGTH).unwrap())).unwrap();
    let sum = std::process::Command::new("sha256sum").arg(&file).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let before_it = rsp.user_memory();
    let url = rsp.url("/sum.php");
    let output = curl(&["-T", &file.display().to_string(), &url]);
    assert_eq!(output.text(), format!("{LENGTH} {}", sum.split(' ').next().unwrap()));
    assert!(rsp.user_memory() < before_it + (4 << 20));
}

#[test]
fn a_slow_page_streams() {
    let php = PhpFpm::start_unix(1);
    php.write(
        "slow.php",
        "<?php for ($i = 0; $i < 3; $i++) { echo \"part $i\\n\"; flush(); while (!file_exists(__DIR__ . \"/go$i\")) \
         { usleep(5000); clearstatcache(); } }",
    );
    let rsp = before(&php, "");
    let mut client = rsp.client();
    client.send("GET /slow.php HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().headers.get("transfer-encoding"), Some("chunked"));
    for part in 0..3 {
        assert_eq!(client.read_exactly(12), format!("7\r\npart {part}\n\r\n").as_bytes());
        php.write(&format!("go{part}"), "");
    }
    assert_eq!(client.read_exactly(5), b"0\r\n\r\n");
}

#[test]
fn a_dead_php_is_502_and_one_that_dies_in_its_answer_a_cut() {
    let mut php = PhpFpm::start_unix(1);
    php.write("endless.php", "<?php echo 'begun'; flush(); while (true) { usleep(1000); }");
    let rsp = before(&php, "");
    let mut client = rsp.client();
    client.send("GET /endless.php HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 200 OK");
    assert_eq!(client.read_exactly(10), b"5\r\nbegun\r\n");
    php.stop();
    let (rest, _) = client.read_to_end();
    assert_eq!(rest, b"", "no last chunk");
    assert_eq!(rsp.client().get("/endless.php").status, 502);
}

#[test]
fn one_process_serves_many_clients_one_after_another() {
    let php = PhpFpm::start_unix(1);
    php.write("index.php", "<?php usleep(2000); echo 'x';");
    // Two workers: what one of them kept would keep the other from the only process.
    let root = php.root().display();
    let rsp = Rsp::config(&format!(
        "workers(2)\nlisten \"127.0.0.1:$PORT\"\nsite \"*\" {{ [\"/*\"] = fastcgi {{ \"{}\", root = \"{root}\" }} }}",
        php.address()
    ))
    .start();
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut client = rsp.client();
                for _ in 0..5 {
                    assert_eq!(client.get("/").status, 200);
                }
            });
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn kept_connections_serve_page_after_page() {
    let php = PhpFpm::start_tcp(2);
    php.write("index.php", "<?php echo $_SERVER['REMOTE_PORT'], ' ', getmypid();");
    let rsp = before(&php, "keepalive = true");
    let mut client = rsp.client();
    let first = client.get("/").text();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), first);
    }
}

#[test]
fn an_upload_that_ends_in_a_scripts_name_is_never_run() {
    let php = PhpFpm::start_unix(1);
    php.write("up/picture.jpg", "<?php echo 'owned';");
    php.write("index.php", "<?php echo 'index ', $_SERVER['REQUEST_URI'];");
    php.write("admin/index.php", "<?php echo 'admin';");
    let rsp = before(&php, "");
    let mut client = rsp.client();
    for path in ["/up/picture.jpg/x.php", "/up/picture.jpg%2fx.php", "/up/picture.jpg%20.php", "/up/x.php/picture.jpg"]
    {
        let answer = client.get(path);
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
    }
    assert_eq!(client.get("/up/picture.jpg").text(), "index /up/picture.jpg");
    assert_eq!(client.get("/2024/hello/?p=1").text(), "index /2024/hello/?p=1");
    assert_eq!(client.get("/admin/").text(), "admin");
    let moved = client.get("/admin?x=1");
    assert_eq!((moved.status, moved.header("location")), (308, Some("/admin/?x=1")));
}

#[test]
fn what_php_logs_is_in_our_log_with_the_request() {
    let php = PhpFpm::start_unix(1);
    php.write("index.php", "<?php error_log(\"look\\nhere\"); echo 'ok';");
    let rsp = before(&php, "");
    assert_eq!(rsp.client().get("/").text(), "ok");
    let line = rsp.wait_for_line(SOON, |line| line.contains("error stream"));
    assert!(line.contains("look here") && line.contains("(request "), "{line}");
}
