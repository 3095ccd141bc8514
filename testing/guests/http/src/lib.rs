//! A handler of `wasi:http` that knows nothing of Rialto. What it does is in the path.

use std::io::{Read as _, Write as _};

use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest,
    OutgoingResponse, ResponseOutparam, Scheme,
};

wasip2::http::proxy::export!(Handler);

/// The handler.
#[derive(Debug)]
pub struct Handler;

impl Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/echo" => respond(out, 200, &headers_of(&request), &body_of(&request)),
            "/about" => respond(out, 200, &[], about(&request, query).as_bytes()),
            "/waits" => respond(out, 100, &[], b""),
            "/missing" => respond(out, 404, &[], b"not here"),
            "/broken" => respond(out, 503, &[], b"broken"),
            "/silent" => drop(out),
            "/error" => ResponseOutparam::set(out, Err(ErrorCode::LoopDetected)),
            "/early" => early(out),
            "/large" => respond(out, 200, &[], &vec![b'x'; number(query)]),
            "/trap" => std::process::abort(),
            "/drip" => drip(out, query, b"text/plain"),
            "/late" => {
                wait(number(query));
                respond(out, 200, &[], b"late");
            }
            "/events" => drip(out, query, b"text/event-stream"),
            "/after" => after(out),
            "/fetch" => match fetch(query) {
                Ok((status, body)) => respond(out, status, &[], &body),
                Err(error) => respond(out, 502, &[], error.as_bytes()),
            },
            "/many" => respond(out, 200, &[], many(query).as_bytes()),
            _ => respond(out, 400, &[], b"no such path"),
        }
    }
}

fn number(query: &str) -> usize {
    query.parse().unwrap_or(0)
}

fn about(request: &IncomingRequest, query: &str) -> String {
    let method = match request.method() {
        Method::Get => "GET".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Other(name) => name,
        other => format!("{other:?}"),
    };
    let authority = request.authority().unwrap_or_default();
    format!("{method} {authority} {query}")
}

/// The headers that begin with `x-`.
fn headers_of(request: &IncomingRequest) -> Vec<(String, Vec<u8>)> {
    let all = request.headers().entries().into_iter();
    all.filter(|(name, _)| name.starts_with("x-")).collect()
}

fn body_of(request: &IncomingRequest) -> Vec<u8> {
    request
        .consume()
        .map(|body| read(&body))
        .unwrap_or_default()
}

fn read(body: &IncomingBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut stream) = body.stream() {
        // What came is the answer, however it ends.
        let _ = stream.read_to_end(&mut bytes);
    }
    bytes
}

/// Whoever went away before the answer does not need it: errors end here.
fn respond(out: ResponseOutparam, status: u16, headers: &[(String, Vec<u8>)], body: &[u8]) {
    let fields = Fields::from_list(headers).unwrap_or_else(|_| Fields::new());
    let response = OutgoingResponse::new(fields);
    let _ = response.set_status_code(status);
    let Ok(outgoing) = response.body() else {
        return;
    };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(mut stream) = outgoing.write() {
        let _ = stream.write_all(body);
        let _ = stream.flush();
    }
    let _ = OutgoingBody::finish(outgoing, None);
}

fn wait(milliseconds: usize) {
    let nanoseconds = milliseconds as u64 * 1_000_000;
    monotonic_clock::subscribe_duration(nanoseconds).block();
}

/// Writes so many events, with so many milliseconds between two, and then does what the query says: `3,20,trap`.
/// Whoever goes away ends it.
fn drip(out: ResponseOutparam, query: &str, media_type: &[u8]) {
    let mut parts = query.split(',');
    let count = number(parts.next().unwrap_or_default());
    let pause = number(parts.next().unwrap_or_default());
    let then = parts.next().unwrap_or_default();
    let headers = [("content-type".to_owned(), media_type.to_vec())];
    let fields = Fields::from_list(&headers).unwrap_or_else(|_| Fields::new());
    let response = OutgoingResponse::new(fields);
    let Ok(outgoing) = response.body() else {
        return;
    };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(mut stream) = outgoing.write() {
        for number in 1..=count {
            if number > 1 && pause > 0 {
                wait(pause);
            }
            let event = format!("data: {number}\n\n");
            if stream.write_all(event.as_bytes()).is_err() || stream.flush().is_err() {
                return;
            }
        }
    }
    if then == "trap" {
        std::process::abort();
    }
    let _ = OutgoingBody::finish(outgoing, None);
}

/// Promises more than it sends.
fn early(out: ResponseOutparam) {
    let length = [("content-length".to_owned(), b"10".to_vec())];
    let fields = Fields::from_list(&length).unwrap_or_else(|_| Fields::new());
    let response = OutgoingResponse::new(fields);
    let body = response.body();
    ResponseOutparam::set(out, Ok(response));
    if let Ok(body) = body {
        if let Ok(mut stream) = body.write() {
            let _ = stream.write_all(b"short");
        }
        drop(body);
    }
}

/// Answers, and then never ends.
fn after(out: ResponseOutparam) {
    respond(out, 200, &[], b"answered");
    let mut count = 0_u64;
    while std::hint::black_box(count) < u64::MAX {
        count = count.wrapping_add(1);
    }
}

fn fetch(url: &str) -> Result<(u16, Vec<u8>), String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&scheme)).map_err(|()| "scheme")?;
    request
        .set_authority(Some(authority))
        .map_err(|()| "authority")?;
    let path = format!("/{path}");
    request
        .set_path_with_query(Some(&path))
        .map_err(|()| "path")?;
    let error = |error: ErrorCode| format!("{error:?}");
    let future = outgoing_handler::handle(request, None).map_err(error)?;
    future.subscribe().block();
    let response = future.get().ok_or("nothing")?.map_err(|()| "taken")?;
    let response = response.map_err(error)?;
    let body = response.consume().map_err(|()| "no body")?;
    Ok((response.status(), read(&body)))
}

/// Fetches a URL again and again until it fails, and says how often it did not.
fn many(url: &str) -> String {
    let mut count = 0;
    loop {
        match fetch(url) {
            Ok(_) => count += 1,
            Err(error) => return format!("{count} {error}"),
        }
    }
}
