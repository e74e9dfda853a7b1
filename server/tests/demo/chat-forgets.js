// Ann's server is killed and started again; it knows nothing of what was said.
const said = page.locator("#log > .said .text");
await page.setViewportSize({ width: 390, height: 844 });
await page.fill("#name", "Ann");
await page.keyboard.press("Enter");
await page.locator("#here li", { hasText: "Ann (you)" }).waitFor();
for (const text of ["one", "two"]) {
  await page.fill("#text", text);
  await page.keyboard.press("Enter");
  await said.getByText(text, { exact: true }).waitFor();
}
await fetch("$MACHINE/kill");
await page.locator("#state", { hasText: "reconnecting" }).waitFor();
await fetch("$MACHINE/start");
await fetch("$DEMO/chat/room", { method: "POST", body: "the first of the new one" });
await page.locator(".note.bad").waitFor();
await said.getByText("the first of the new one", { exact: true }).waitFor();
await page.locator("#state", { hasText: /^connected/ }).waitFor();
await page.fill("#text", "and on");
await page.keyboard.press("Enter");
await said.getByText("and on", { exact: true }).waitFor();
await page.screenshot({ path: "$PICTURES/chat-forgets.png" });
return {
  rows: await page.locator("#log > .said .text, #log > .note.bad").allTextContents(),
  state: await page.textContent("#state"),
};
