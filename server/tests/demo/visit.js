// Stops the server `two`, watches the others go on, starts it again; takes a picture in light and in dark.
const lane = (name) => page.locator(`li[data-name=${name}]`);
const counts = () => page.evaluate(() => {
  const lanes = [...document.querySelectorAll("li[data-name]")];
  return Object.fromEntries(lanes.map((lane) => [lane.dataset.name, Number(lane.querySelector(".number").textContent)]));
});
const grown = (names, since, by) => page.waitForFunction(([names, since, by]) => names.every((name) => {
  const number = document.querySelector(`li[data-name=${name}] .number`);
  return number && Number(number.textContent) >= (since[name] ?? 0) + by;
}), [names, since, by]);

await page.setViewportSize({ width: 1000, height: 860 });
await grown(["one", "two", "three"], {}, 3);
await lane("two").getByRole("button", { name: "Stop server two" }).click();
await lane("two").getByText("stopped").waitFor();
const before = await counts();
await grown(["one", "three"], before, 5);
const after = await counts();
for (const colorScheme of ["light", "dark"]) {
  await page.emulateMedia({ colorScheme });
  await page.screenshot({ path: `$PICTURES/demo-${colorScheme}.png`, fullPage: true });
}
await lane("two").getByRole("button", { name: "Start server two" }).click();
await lane("two").getByRole("button", { name: "Stop server two" }).waitFor();
await grown(["two"], after, 3);
return { before, after, failed: await page.textContent("#failed") };
