// Copyright: (c) 2026, nobloat.xen contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the npm package xen-api, which knows nothing of xapisim, makes of a pool: prints one JSON object.
//   node xen_api.mjs URL USER PASSWORD VM_NAME NEW_NAME

import { Readable } from 'node:stream'
import { createClient } from 'xen-api'

const [url, user, password, vmName, newName] = process.argv.slice(2)
const seconds = (n, what) =>
  new Promise((_, reject) => setTimeout(() => reject(new Error(`${what}: nothing after ${n} s`)), n * 1000).unref())
const failure = promise => promise.then(() => null, error => ({ code: error.code, params: error.params }))

const xapi = createClient({ url, auth: { user, password }, allowUnauthorized: true })
await Promise.race([xapi.connect(), seconds(20, 'connect')])
await Promise.race([xapi.objectsFetched, seconds(20, 'objects')])

const objects = Object.values(xapi.objects.all)
const types = {}
for (const { $type } of objects) {
  types[$type] = (types[$type] ?? 0) + 1
}

// A watch that sees a rename made through another connection.
const vm = objects.find(object => object.$type === 'VM' && object.name_label === vmName)
const renamed = new Promise(resolve =>
  xapi.objects.on('update', updates => {
    const seen = Object.values(updates).find(object => object?.uuid === vm.uuid && object.name_label === newName)
    if (seen !== undefined) {
      resolve(seen.name_label)
    }
  })
)
await xapi.call('VM.set_name_label', vm.$ref, newName)
const watched = await Promise.race([renamed, seconds(20, 'rename')])

// Async calls: xen-api makes them a task, watches it and decodes its result.
const started = await Promise.race([xapi.callAsync('VM.start', vm.$ref, false, false), seconds(20, 'VM.start')])
const clone = await failure(xapi.callAsync('VM.clone', vm.$ref, 'clone of a running guest'))
await Promise.race([xapi.callAsync('VM.hard_shutdown', vm.$ref), seconds(20, 'VM.hard_shutdown')])
const copy = await Promise.race([xapi.callAsync('VM.clone', vm.$ref, 'copy'), seconds(20, 'VM.clone')])

// A raw disk goes in, as a stream for which it first asks where to send it, and out again.
const [disk] = objects.filter(object => object.$type === 'VDI' && object.name_label === 'root')
const bytes = Buffer.alloc(1 << 20, 'xapisim')
const query = { format: 'raw', vdi: disk.$ref }
const stream = Object.assign(Readable.from([bytes]), { length: bytes.length })
const put = await Promise.race([xapi.putResource(stream, '/import_raw_vdi/', { query, task: true }), seconds(30, 'put')])
const got = await xapi.getResource('/export_raw_vdi/', { query, task: true })
const back = Buffer.from(await Promise.race([got.body.arrayBuffer(), seconds(30, 'get')]))
await Promise.race([got.task, seconds(20, 'the task of get')])

const result = {
  raw: { task: put, size: back.length, same: back.subarray(0, bytes.length).equals(bytes), vdi: disk.$ref },
  pool: xapi.pool?.name_label,
  types,
  typed: { memory: typeof vm.memory_static_max, template: typeof vm.is_a_template, host: typeof vm.$affinity },
  watched,
  started: started === '' || started === undefined ? 'void' : started,
  copyName: await xapi.call('VM.get_name_label', copy),
  failures: {
    clone,
    unknown: await failure(xapi.call('VM.nope')),
    handle: await failure(xapi.call('VM.get_record', 'OpaqueRef:bogus')),
    uuid: await failure(xapi.call('VM.get_by_uuid', 'deadbeef')),
    state: await failure(xapi.call('VM.unpause', vm.$ref)),
  },
  tasksLeft: Object.values(xapi.objects.all).filter(object => object.$type === 'task' && object.status === 'pending').length,
}
await xapi.disconnect()
console.log(JSON.stringify(result))
process.exit(0)
