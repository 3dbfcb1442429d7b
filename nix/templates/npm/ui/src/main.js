import { nanoid } from "nanoid";

document.getElementById("greeting").textContent = `hello, visitor ${nanoid()}`;
