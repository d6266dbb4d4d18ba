// Tests of the page in a real browser: node check.mjs SERVER_PROGRAM IMAGES_FOLDER
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [program, images] = process.argv.slice(2);
mkdirSync(images, { recursive: true });
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const port = 18000 + Math.floor(Math.random() * 1000);
const base = `http://127.0.0.1:${port}/`;
const server = spawn(program, [`127.0.0.1:${port}`], { stdio: ["pipe", "ignore", "inherit"] });
const say = (command) => server.stdin.write(command + "\n");

async function until(what, check, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const value = await Promise.resolve().then(check).catch(() => false);
    if (value) return value;
    assert(Date.now() < end, `not within ${seconds} s: ${what}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

const status = async () => (await fetch(base + "api/v1/status")).json();
await until("the server has seen its releases", async () => {
  const now = await status();
  const { causes } = await (await fetch(base + "api/v1/causes")).json();
  return now.needsPerson === 3 && now.inProgress === 8 && causes.some((cause) => cause.breakers.length);
});

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const problems = [];

async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  page.on("dialog", (dialog) => { problems.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("pageerror", (error) => problems.push(`an error of the script: ${error}`));
  page.on("console", (line) => {
    if (/Content.Security.Policy/i.test(line.text())) problems.push(line.text());
  });
  return page;
}

async function accessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"] }));
  const found = violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.target).join(", ")}`);
  assert.deepEqual(found, [], `axe on ${where}`);
}

async function fits(page, where) {
  const over = await page.evaluate(() => document.scrollingElement.scrollWidth - window.innerWidth);
  assert(over <= 0, `${where} is ${over} px too wide`);
}

const tests = {
  async "pages load in light, dark and on a phone, without a violation that axe finds"() {
    const causes = await (await fetch(base + "api/v1/causes")).json();
    const paths = ["", "releases/prod-eu/shop/db", `causes/${causes.causes[0].id}`, "clusters", "?band=excluded", "releases/a/b/c"];
    for (const [name, options] of [
      ["light", { colorScheme: "light", viewport: { width: 1200, height: 1500 } }],
      ["dark", { colorScheme: "dark", viewport: { width: 1200, height: 1500 } }],
      ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }],
    ]) {
      const page = await open(options);
      for (const path of paths) {
        await page.goto(base + path);
        await accessible(page, `${name} /${path}`);
        await fits(page, `${name} /${path}`);
        if (path === "") await page.screenshot({ path: `${images}/page-${name}.png` });
        if (path.startsWith("releases/prod")) await page.screenshot({ path: `${images}/release-${name}.png`, fullPage: true });
      }
      await page.context().close();
    }
  },

  async "the bands are in order, and a row has the cause, the next step and its command"() {
    const page = await open();
    await page.goto(base);
    const headings = await page.locator("h2").allTextContents();
    assert.match(headings[0], /^3 need a person$/);
    assert.match(headings[1], /^\d+ shared causes?$/);
    assert.match(headings[2], /^8 in progress$/);
    assert.match(headings[3], /^0 healed$/);
    const row = page.locator("#rows-needs-person .row").first();
    assert.match(await row.textContent(), /shop\/db in cluster prod-eu/);
    assert.equal(await row.locator("code").first().textContent(), "flux reconcile helmrelease db -n shop --reset");
    await row.locator("button").click();
    await until("the button says so", async () => /Copied|Selected/.test(await row.locator("button").textContent()));
    assert.match(await row.locator("p mark").textContent(), /updates to statefulset spec/);
  },

  async "hostile text stays text"() {
    const page = await open();
    say("hostile team/hostile");
    await until("it is known", async () => (await status()).needsPerson === 4);
    for (const path of ["", "releases/prod-us/team/hostile", "?q=%3Cscript%3Ealert(1)%3C/script%3E"]) {
      await page.goto(base + path);
      assert.equal(await page.locator("script").count(), 1, path);
      assert.equal(await page.locator("img, style").count(), 0, path);
      assert.match(await page.title(), /helmreboot$/);
    }
    await page.goto(base + "releases/prod-us/team/hostile");
    const text = await page.locator("pre").first().textContent();
    assert(text.includes("<script>document.title='owned'"), text);
    assert(!/[\u001b\u202e]/.test(text));
    say("heal team/hostile");
    await until("it has healed", async () => (await status()).needsPerson === 3);
  },

  async "without JavaScript everything can be read and followed"() {
    const page = await open({ javaScriptEnabled: false });
    await page.goto(base);
    assert.match(await page.locator("h2").first().textContent(), /need a person/);
    assert.equal(await page.locator("button[data-copy]:visible").count(), 0);
    assert.match(await page.content(), /http-equiv="refresh"/);
    await page.locator("#rows-needs-person a").first().click();
    assert.match(await page.locator("h1").textContent(), /shop\/db/);
    assert.match(await page.locator("tr.decides").textContent(), /permanent/);
    await page.locator("a.brand").click();
    assert.equal(page.url(), base);
    await page.locator("#q").fill("search");
    await page.locator("form button").click();
    assert.equal(await page.locator("#rows-needs-person .row").count(), 1);
  },

  async "the page works with the keyboard"() {
    const page = await open();
    await page.goto(base);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "main");
    const summary = page.locator("#rows-needs-person summary").first();
    await summary.focus();
    await page.keyboard.press("Enter");
    assert(await page.locator("#rows-needs-person details").first().evaluate((it) => it.open));
  },

  async "changes appear without a new load, and what a person opened stays open"() {
    const page = await open();
    await page.goto(base);
    await until("the stream is open", async () => (await page.locator("#live").textContent()) === "Live updates are on");
    await page.evaluate(() => { window.sameDocument = true; });
    await page.locator("#rows-needs-person summary").first().click();
    const release = await open();
    await release.goto(base + "releases/prod-us/team/cache");
    await release.locator("h1").click();
    say("fail team/new");
    await until("the new release is a row", () => page.locator("#rows-needs-person .row", { hasText: "team/new" }).count());
    say("heal team/new");
    say("heal team/cache");
    await until("it has gone again", async () => (await page.locator("#rows-needs-person .row", { hasText: "team/new" }).count()) === 0);
    await until("the other one healed", () => page.locator("#rows-healed .row", { hasText: "team/cache" }).count());
    assert.match(await page.locator("#h-needs-person").textContent(), /^3 need a person$/);
    assert(await page.locator("#rows-needs-person details").first().evaluate((it) => it.open));
    assert(await page.evaluate(() => window.sameDocument));
    await until("the page of the release says so", async () => /recovered at/.test(await release.locator("main").textContent()));
    say("fail team/a"); say("fail team/b");
    await until("the words around the rows follow", async () => /^5 need/.test(await page.locator("#h-needs-person").textContent()));
    say("heal team/a"); say("heal team/b");
  },

  async "it works under a path prefix behind a proxy"() {
    const prefix = "/tools/helmreboot";
    const proxy = http.createServer((request, answer) => {
      if (!request.url.startsWith(prefix + "/")) { answer.writeHead(404).end(); return; }
      const options = { host: "127.0.0.1", port, path: request.url.slice(prefix.length), method: request.method, headers: request.headers };
      const passed = http.request(options, (from) => { answer.writeHead(from.statusCode, from.headers); from.pipe(answer); });
      passed.on("error", () => answer.destroy());
      answer.on("close", () => passed.destroy());
      request.pipe(passed);
    });
    await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
    const page = await open();
    const missing = [];
    page.on("response", (it) => { if (it.status() >= 400) missing.push(it.url()); });
    await page.goto(`http://127.0.0.1:${proxy.address().port}${prefix}/`);
    await until("the stream is open", async () => (await page.locator("#live").textContent()) === "Live updates are on");
    await page.locator("#rows-needs-person a").first().click();
    assert.match(await page.locator("h1").textContent(), /shop\/db/);
    await page.locator("nav a").nth(1).click();
    await page.locator("#rows-clusters a").first().click();
    assert.match(page.url(), /\/tools\/helmreboot\/\?cluster=prod-eu$/);
    assert.deepEqual(missing, []);
    await page.context().close();
    proxy.closeAllConnections();
    proxy.close();
  },

  async "a burst of a thousand outcomes is a few loads, and the page stays usable"() {
    const page = await open();
    await page.goto(base);
    await until("the stream is open", async () => (await page.locator("#live").textContent()) === "Live updates are on");
    let loads = 0;
    page.on("request", (it) => { if (it.url() === base) loads += 1; });
    say("burst 1000");
    await until("all are counted", async () => /^1003 need/.test(await page.locator("#h-needs-person").textContent()), 60);
    const before = Date.now();
    await page.locator("#rows-needs-person summary").first().click();
    assert(Date.now() - before < 2000, "a click is answered");
    assert(loads <= 20, `${loads} loads`);
    assert((await page.locator(".row").count()) < 80, "a band shows some of its rows");
    await page.goto(base + "?band=needs-person");
    assert.equal(await page.locator(".row").count(), 200);
    await page.getByRole("link", { name: "Next" }).click();
    assert.equal(await page.locator(".row").count(), 200);
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  const begun = Date.now();
  try {
    await test();
    assert.deepEqual(problems, []);
    console.log(`ok   ${name} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    problems.length = 0;
    console.log(`FAIL ${name}\n${error.stack}`);
  }
}
await browser.close();
server.stdin.end();
process.exit(failed ? 1 : 0);
