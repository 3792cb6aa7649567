// Hands the key to the server, which keeps it in a cookie that no script can read.
import { Resource, notify, send } from "./common.js";

const $ = (name) => document.getElementById(name);

/** The page that asked for the key; never another site's. */
function destination() {
  const wanted = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.origin);
  return wanted.origin === location.origin ? wanted.href : "/";
}

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("enter").disabled = true;
  try {
    await send("/login", { key: $("key").value });
    location.replace(destination());
  } catch (error) {
    notify(error);
    $("enter").disabled = false;
    $("key").select();
  }
});

// A link on another site, or in a report, comes without the cookie of a browser that has one.
const { demanded, key } = await new Resource("/session").read();
if (key || !demanded) location.replace(destination());
