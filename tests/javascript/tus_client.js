// Uploads a file: node tus_client.js ENDPOINT TOKEN FILE FILETYPE STATE [STOP_AFTER_BYTES]
// STATE keeps the address of an upload that was begun. Prints the address when it is done; ends with 3 when stopped.
const fs = require("node:fs")
const path = require("node:path")
const tus = require("tus-js-client")

const [endpoint, token, file, filetype, state, stopAfter] = process.argv.slice(2)
const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint,
  uploadUrl: fs.existsSync(state) ? fs.readFileSync(state, "utf8") : null,
  uploadSize: fs.statSync(file).size,
  headers: { Authorization: `Bearer ${token}` },
  metadata: { filename: path.basename(file), filetype },
  chunkSize: 1024 * 1024,
  retryDelays: Array(100).fill(300),
  onUploadUrlAvailable: () => fs.writeFileSync(state, upload.url),
  onChunkComplete: (size, accepted) => {
    console.error(`at ${accepted}`)
    if (stopAfter && accepted >= Number(stopAfter)) process.exit(3)
  },
  onError: (error) => {
    console.error(String(error))
    process.exit(1)
  },
  onSuccess: () => {
    console.log(upload.url)
    process.exit(0)
  },
})
upload.start()
