//! rsp
fn main() {
    let _ = tokio::runtime::LocalRuntime::new();
    let _l = mlua::Lua::new();
}
