// Sends what stands on its standard input by nodemailer; told where by the environment.
const fs = require("fs");
const nodemailer = require("/usr/share/nodejs/nodemailer");

const env = process.env;
const transport = nodemailer.createTransport({
  host: "localhost",
  port: Number(env.PORT),
  secure: env.IMPLICIT === "1",
  requireTLS: true,
  tls: { ca: fs.readFileSync(env.CA_FILE) },
  auth: { user: env.PRIMARY, pass: env.PASSWORD },
});
transport
  .sendMail({
    envelope: { from: env.PRIMARY, to: [env.RECIPIENT], use8BitMime: true },
    raw: fs.readFileSync(0),
  })
  .catch((error) => {
    console.error(error.response || error);
    process.exitCode = 1;
  });
