// Uses a client that @hey-api/openapi-ts generated, compiled into the folder that is named first.
const [, , folder, baseUrl, token] = process.argv;
const { client } = require(`${folder}/client.gen.js`);
const sdk = require(`${folder}/sdk.gen.js`);

client.setConfig({ baseUrl, auth: (scheme) => (scheme.scheme === 'bearer' ? token : undefined) });

async function use() {
  const body = { name: 'Ada', phones: ['+234 817 980 3743'] };
  const contact = (await sdk.createContact({ body, throwOnError: true })).data.data;
  const message = { text: 'Hello' };
  const order = { send_type: 'individual', to: contact.number, message };
  const broadcast = (await sdk.createBroadcast({ body: order, throwOnError: true })).data.data;
  const path = { broadcast_id: broadcast._id };
  const shown = (await sdk.getBroadcast({ path, throwOnError: true })).data.data;
  const listed = (await sdk.listContacts({ query: { page_size: 1 }, throwOnError: true })).data.data;
  const missing = await sdk.getContact({ path: { contact_id: '0'.repeat(24) } });
  return {
    contact: contact._id,
    listed: listed.map((each) => each._id),
    shown: shown.message,
    status: missing.response.status,
    reason: missing.error.message,
  };
}

use().then((done) => console.log(JSON.stringify(done)));
