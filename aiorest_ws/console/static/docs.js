// Requests go where this page is, as a proxy or an application around may have put all of it below a path.
// No validator: it would send the schema to somebody else's server.
// What `on_connect` reads stands behind the path of this page, if anywhere.
fetch(`openapi.json${location.search}`)
  .then((reply) => (reply.ok ? reply.json() : Promise.reject(new Error(reply.status))))
  .then((spec) => {
    const url = new URL(".", location.href).href.replace(/\/$/, "");
    SwaggerUIBundle({ spec: { ...spec, servers: [{ url }] }, dom_id: "#swagger", deepLinking: true, validatorUrl: null });
  })
  .catch((error) => {
    document.getElementById("swagger").textContent = `openapi.json cannot be read: ${error.message}`;
  });
