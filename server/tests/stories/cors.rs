//! `cors`: preflights, answers and error pages for pages of other origins, told with curl's means and a browser.

use testkit::{Answer, Chromium, Client, Origin, Response, Rsp};

use super::front;

fn ask(client: &mut Client, method: &str, path: &str, fields: &str) -> Response {
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    client.read_response(method)
}

const PAGE: &str = "Origin: https://page.example\r\n";
const PREFLIGHT: &str = "Origin: https://page.example\r\nAccess-Control-Request-Method: PUT\r\n";

const CORS: &str = "cors { origins = { \"https://page.example\", \"https://*.pages.example\" }, methods = \"PUT\", \
                    headers = { \"Content-Type\", \"X-A\" }, credentials = true, max_age = \"10m\" }";

#[test]
fn a_preflight_is_answered_before_it_reaches_the_upstream() {
    let origin = Origin::replying("ok");
    let rsp = front("", &format!("{{ {CORS}, proxy \"$ORIGIN\" }}")).set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    let answer = ask(&mut client, "OPTIONS", "/x", PREFLIGHT);
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://page.example"),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-headers", "content-type, x-a"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let foreign = PREFLIGHT.replace("page.", "other.");
    let answer = ask(&mut client, "OPTIONS", "/x", &foreign);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, None));
    assert_eq!(answer.header("access-control-allow-methods"), None);
    assert_eq!(origin.received().len(), 0);
    // Not every OPTIONS request is a preflight.
    assert_eq!(ask(&mut client, "OPTIONS", "/x", PAGE).text(), "ok");
}

#[test]
fn the_decision_stands_in_the_place_of_the_upstreams_own() {
    let own = "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: X-Total\r\nVary: Accept\r\n";
    let origin = Origin::start(move |_| Answer::with_headers("200 OK", own, "ok"));
    let rsp = front("", &format!("{{ {CORS}, proxy \"$ORIGIN\" }}")).set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    for (fields, allowed) in [
        (PAGE, Some("https://page.example")),
        ("Origin: https://a.b.pages.example\r\n", Some("https://a.b.pages.example")),
        ("Origin: https://pages.example\r\n", None),
        ("Origin: null\r\n", None),
        ("", None),
    ] {
        let answer = ask(&mut client, "GET", "/", fields);
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, allowed), "{fields}");
        assert_eq!(answer.header("access-control-allow-credentials"), allowed.map(|_| "true"), "{fields}");
        assert_eq!(answer.header("access-control-expose-headers"), Some("X-Total"));
        assert_eq!(answer.head.headers.all("vary").collect::<Vec<_>>(), ["Accept", "Origin"], "{fields}");
    }
}

#[test]
fn error_pages_can_be_read_by_the_page_too() {
    let mut origin = Origin::replying("ok");
    let filters = format!("{{ {CORS}, limit {{ rate = \"1/h\" }}, proxy \"$ORIGIN\" }}");
    let rsp = front("", &filters).set("ORIGIN", origin.address()).start();
    origin.stop();
    let mut client = rsp.client();
    for status in [502, 429] {
        let answer = ask(&mut client, "GET", "/", PAGE);
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (status, Some("https://page.example"))
        );
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    // Preflights stop at the filter, so they use nothing of the limit behind it.
    assert_eq!(ask(&mut client, "OPTIONS", "/", PREFLIGHT).status, 204);
}

#[test]
fn a_function_that_fails_is_an_error_page_with_the_decision() {
    let function = "function(request) error(\"no\") end";
    let rsp = front("", &format!("{{ {CORS}, {function} }}")).start();
    let answer = ask(&mut rsp.client(), "GET", "/", PAGE);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (500, Some("https://page.example")));
}

#[test]
fn a_preflight_finds_the_route_of_the_method_that_it_asks_for() {
    let text = format!(
        "workers(1)\nlisten \"127.0.0.1:$PORT\"\n\
         site \"*\" {{ [\"PUT /x\"] = {{ {CORS}, reply(200) }}, [\"GET /x\"] = reply(200),\n\
                      [\"PUT /y\"] = {{ {CORS}, reply(200) }}, [\"/y\"] = reply(200, \"any\"),\n\
                      [\"/z\"] = {{ deny \"127.0.0.1\", {CORS}, reply(200) }} }}"
    );
    let rsp = Rsp::config(&text).start();
    let mut client = rsp.client();
    assert_eq!(ask(&mut client, "OPTIONS", "/x", PREFLIGHT).status, 204);
    assert_eq!(ask(&mut client, "OPTIONS", "/x", &PREFLIGHT.replace("PUT", "GET")).status, 405);
    assert_eq!(ask(&mut client, "OPTIONS", "/x", PAGE).status, 405);
    assert_eq!(ask(&mut client, "OPTIONS", "/y", PREFLIGHT).status, 204);
    assert_eq!(ask(&mut client, "OPTIONS", "/y", PAGE).text(), "any");
    assert_eq!(ask(&mut client, "OPTIONS", "/z", PREFLIGHT).status, 403, "filters run in their order");
    assert_eq!(ask(&mut client, "OPTIONS", "/nowhere", PREFLIGHT).status, 404);
}

#[test]
fn every_origin_may_read_without_credentials() {
    let cors = "cors { origins = \"*\", methods = \"*\", headers = \"*\" }";
    let rsp = front("", &format!("{{ {cors}, reply(200, \"ok\") }}")).start();
    let mut client = rsp.client();
    let answer = ask(&mut client, "GET", "/", "Origin: null\r\n");
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (Some("*"), None));
    let asked =
        "Origin: null\r\nAccess-Control-Request-Method: PATCH\r\nAccess-Control-Request-Headers: x-a,authorization\r\n";
    let answer = ask(&mut client, "OPTIONS", "/", asked);
    assert_eq!(answer.header("access-control-allow-methods"), Some("PATCH"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-a,authorization"));
}

#[test]
fn a_page_of_another_origin_reads_what_it_may_and_no_more_in_a_browser() {
    let text = "workers(1)\nlisten \"127.0.0.1:$PORT\"\nlisten \"127.0.0.1:$PORT2\"\n\
        local cors = cors { origins = \"http://127.0.0.1:$PORT\", methods = \"PUT\", headers = \"x-a\", credentials = true }\n\
        site \"*\" { [\"/\"] = reply(200, \"\", { [\"Content-Type\"] = \"text/html\" }),\n\
            [\"PUT /api\"] = { cors, reply(200, \"written\") }, [\"DELETE /api\"] = { cors, reply(200, \"gone\") },\n\
            [\"/api/*\"] = { cors, limit { rate = \"1/h\" }, reply(200, \"read\") }, [\"/closed\"] = reply(200, \"secret\") }";
    let rsp = Rsp::config(text).start();
    let api = format!("http://127.0.0.1:{}", rsp.port_of(2));
    let steps = format!(
        "return await page.evaluate(async (api) => {{\n\
            const ask = async (path, options) => {{\n\
                try {{ const answer = await fetch(api + path, options); return answer.status + ' ' + await answer.text(); }}\n\
                catch (error) {{ return 'refused'; }}\n\
            }};\n\
            const headers = {{ 'X-A': '1' }};\n\
            return [\n\
                await ask('/api', {{ method: 'PUT', headers, credentials: 'include' }}),\n\
                await ask('/api', {{ method: 'DELETE' }}),\n\
                await ask('/api', {{ method: 'PUT', headers: {{ 'X-B': '1' }} }}),\n\
                await ask('/api/x', {{}}),\n\
                (await ask('/api/x', {{}})).slice(0, 3),\n\
                await ask('/closed', {{}}),\n\
            ];\n\
        }}, '{api}');"
    );
    let visit = Chromium::visit(&rsp.url("/"), &steps);
    let told: Vec<_> = visit.value.as_array().unwrap().iter().map(|told| told.as_str().unwrap()).collect();
    assert_eq!(told, ["200 written", "refused", "refused", "200 read", "429", "refused"]);
}
