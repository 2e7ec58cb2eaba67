// For auth_request: 204 when the caller has $ums_permission, with the id of the account in X-UMS-User; else the service's 401
// or 403. For /etc/nginx/ums; see protected.conf. Written in what njs 0.7 understands.
const service = 'http://127.0.0.1:8080';
const host = 'id.example.com'; // the service answers to its own names

async function authorize(r) {
    // What the caller says of himself, and nothing else of his.
    const headers = {Host: host, 'X-Forwarded-For': r.remoteAddress, 'Content-Type': 'application/json'};
    ['Authorization', 'X-API-Key'].forEach(name => {
        if (r.headersIn[name] !== undefined) {
            headers[name] = r.headersIn[name];
        }
    });
    try {
        const replies = await Promise.all([
            ngx.fetch(service + '/api/v1/users/me', {headers: headers}),
            ngx.fetch(service + '/api/v1/authz/check', {
                method: 'POST', headers: headers, body: JSON.stringify({permissions: [r.variables.ums_permission]}),
            }),
        ]);
        const refused = replies.find(reply => reply.status !== 200);
        if (refused) {
            const challenge = refused.headers.get('WWW-Authenticate');
            if (challenge) {
                r.headersOut['WWW-Authenticate'] = challenge;
            }
            r.return(refused.status);
            return;
        }
        const me = await replies[0].json();
        const answer = await replies[1].json();
        if (answer.results.length !== 1 || answer.results[0].allowed !== true) {
            r.return(403);
            return;
        }
        r.headersOut['X-UMS-User'] = me.id;
        r.return(204);
    } catch (e) {
        r.error('ums: ' + e.message);
        r.return(503);
    }
}

export default {authorize: authorize};
