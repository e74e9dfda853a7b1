// Nothing arrives any more, and no connection ends. The page finds out when it looks who is here, which is now.
const said = page.locator("#log > .said .text");
const post = (body) => fetch("$DEMO/chat/room", { method: "POST", body });
await page.clock.install();
await page.goto("$RELAY/chat");
await page.locator("#state", { hasText: /^connected$/ }).waitFor();
await post("before");
await said.getByText("before", { exact: true }).waitFor();
await fetch("$NETWORK/stall");
await post("missed");
await page.clock.fastForward(21_000);
await page.locator("#state", { hasText: "reconnecting" }).waitFor();
await fetch("$NETWORK/mend");
await page.clock.fastForward(9_000);
await page.locator("#state", { hasText: "connected again, nothing missed" }).waitFor();
await post("and on");
await said.getByText("and on", { exact: true }).waitFor();
return await said.allTextContents();
