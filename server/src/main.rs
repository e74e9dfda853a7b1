//! rsp: reverse proxy, load balancer and live channels; arguments in, exit code out.

#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod arguments;
mod boot;
mod broker;
mod demo;
mod dispatch;
mod error;
mod filter;
mod handler;
mod limit;
mod listen;
mod message;
mod observe;
mod process;
mod protocol;
mod remote;
mod route;
mod script;
mod session;
mod shutdown;
mod stream;
mod tls;
mod upstream;

use std::process::ExitCode;

use arguments::Task;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = process::serve(std::env::args_os().skip(1)) {
        return ExitCode::from(code);
    }
    let task = arguments::parse(std::env::args_os());
    observe::messages(task.as_ref().ok().and_then(Task::messages));
    let code = match task {
        Ok(Task::Run { origin, watch, .. }) => boot::run(origin, watch),
        Ok(Task::Demo { listen, admin }) => demo::run(&listen, admin),
        Ok(Task::Check(origin)) => boot::check(&origin),
        Ok(Task::Remote(command, target)) => remote::run(command, &target),
        Ok(Task::Publish(publication, target)) => remote::publish(&publication, &target),
        Ok(Task::Subscribe(subscription, target)) => remote::subscribe(&subscription, &target),
        Err(code) => code,
    };
    observe::flush_messages();
    code
}
