// Opens a page in headless Chromium, runs a test's steps on it and prints what they return as one line of JSON.
//
// In on stdin: {"browser": path, "profile": folder, "url": string, "steps": body of async (page, context) => …, "timeout": ms}
// Out on stdout: {"value": …, "console": [lines], "errors": [lines]}; exit 1 with the reason on stderr if a step failed.
import { chromium } from "playwright-core";

let input = "";
for await (const chunk of process.stdin) input += chunk;
const { browser, profile, url, steps, timeout } = JSON.parse(input);

const context = await chromium.launchPersistentContext(profile, {
  executablePath: browser,
  headless: true,
  ignoreHTTPSErrors: true,
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const log = { console: [], errors: [] };
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.setDefaultTimeout(timeout);
  page.on("console", (message) => log.console.push(message.text()));
  page.on("pageerror", (error) => log.errors.push(String(error)));
  if (url) await page.goto(url);
  const Steps = Object.getPrototypeOf(async function () {}).constructor;
  const value = await new Steps("page", "context", steps)(page, context);
  console.log(JSON.stringify({ value: value ?? null, ...log }));
} catch (error) {
  console.error(error.stack ?? String(error));
  console.error(JSON.stringify(log));
  process.exitCode = 1;
} finally {
  await context.close();
}
